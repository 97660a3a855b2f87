"""What a test of faults counts."""

from dataclasses import dataclass


@dataclass
class Tally:
    """What came of a fault, however often it was tried; all of it has to be zero.

    `lost`: what was there, or was acknowledged, and is not. `wrong`: what says something else than it has to.
    `failed`: what had to work and did not. `late`: what took longer than `within`.
    `limit` says in words what the engine can't.
    """

    fault: str
    tried: int = 0
    lost: int = 0
    wrong: int = 0
    failed: int = 0
    late: int = 0
    limit: str = ""
    #: Seconds in which a good client has to be answered.
    within: float = 1

    @property
    def clean(self) -> bool:
        return self.tried > 0 and not (self.lost or self.wrong or self.failed or self.late)
