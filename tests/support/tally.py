"""What a test of faults counts; all of it but `tried` must be 0."""

from dataclasses import dataclass


@dataclass
class Tally:
    """The result of all tries of a fault: each count but `tried` must be 0.

    `lost`: what was there, or was acknowledged, and is gone. `wrong`: what differs from what it must be.
    `failed`: what did not work and must. `late`: what took longer than `within`.
    `limit` names what the engine can't do.
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
