"""What the service takes from its clients at most: each limit is an option of `escnet serve`."""

from dataclasses import asdict, dataclass, fields

from escnet.errors import ConfigError, setting

MIB = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The service's limits.

    Attributes:
        max_bytes: Of one request with one picture.
        max_batch_bytes: Of one request with several.
        max_pixels: Of a picture, by its header.
        max_names: Queries of one request, synonyms among them.
        max_name_length: Characters of a name.
        max_names_bytes: Of a list of names, as text or as a file.
        max_pictures: Of a batch.
        max_jobs: Batches at a time, finished ones that are not fetched among them.
        job_seconds: For which a finished batch is kept.
        max_lists: Stored lists of names.
        upload_seconds: In which a request has to be here.
        seconds: Of computing, for a picture.
        wait_seconds: In which computing has to begin.
        max_waiting: Requests that wait or are on their way here, beside those that are computed.
        requests_per_minute: Of one client.
        memory: Bytes of one worker process.

    Raises:
        ConfigError: If one is not above zero.
    """

    max_bytes: int = 32 * MIB
    max_batch_bytes: int = 512 * MIB
    max_pixels: int = 50_000_000
    max_names: int = 2000
    max_name_length: int = 200
    max_names_bytes: int = MIB
    max_pictures: int = 100
    max_jobs: int = 16
    job_seconds: float = 600.0
    max_lists: int = 100
    upload_seconds: float = 60.0
    seconds: float = 60.0
    wait_seconds: float = 60.0
    max_waiting: int = 32
    requests_per_minute: int = 240
    memory: int = 4 * 2**30

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 < value < float("inf"):
                raise ConfigError(
                    f"{setting(field.name)} {value} lets nothing through: give more than 0"
                )

    def as_numbers(self) -> dict[str, int | float]:
        """The limits by name, for clients."""
        return asdict(self)
