/**
 * The page's own look: light, dark, or as the system has it.
 */

const KEY = "escnet.look";
const LOOKS = ["auto", "light", "dark"];

/** @param {HTMLElement} button Goes through the looks. */
export function addLook(button) {
  let look = localStorage.getItem(KEY) ?? "auto";
  const show = () => {
    document.documentElement.dataset.look = look;
    const told = `Look: ${look === "auto" ? "as the system" : look}`;
    button.setAttribute("aria-label", told);
    button.title = told;
  };
  button.addEventListener("click", () => {
    look = LOOKS[(LOOKS.indexOf(look) + 1) % LOOKS.length];
    localStorage.setItem(KEY, look);
    show();
  });
  show();
}
