"""CAT-Seg (Cho et al., CVPR 2024), the structure that ESC-Net is compared with (Fig. 1b)."""
