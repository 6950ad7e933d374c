"""The gate that every plan passes first: it keeps the steps of an epoch in order and lets nothing follow a mistake."""

from shared.step import Refusal, RefusalCode, StepPlan


class EpochGate:
    """Admits step *k* of the current epoch only after step *k* − 1; after a refusal it admits nothing until it reopens.

    A plan of another boot or another epoch is refused without harm to the current epoch: it is a late one, from before
    a restart of its sender or of the engine.
    """

    def __init__(self, boot_id: int) -> None:
        self.boot_id = boot_id
        self.epoch = 0
        self.last_step = 0
        self._poison: str | None = "no epoch has been opened"

    def open(self) -> None:
        """Begin a new epoch, whatever became of the one before."""
        self.epoch += 1
        self.last_step = 0
        self._poison = None

    def admit(self, plan: StepPlan) -> Refusal | None:
        """Count the plan as the epoch's next step, or say why it may not run."""
        if plan.boot_id != self.boot_id:
            return Refusal(RefusalCode.WRONG_BOOT, f"plan for boot {plan.boot_id}; this is boot {self.boot_id}")
        if plan.epoch != self.epoch:
            return Refusal(RefusalCode.STALE_EPOCH, f"plan of epoch {plan.epoch}; the current one is {self.epoch}")
        if self._poison is not None:
            return Refusal(RefusalCode.POISONED_EPOCH, f"epoch {self.epoch} cannot go on: {self._poison}")
        if plan.step != self.last_step + 1:
            refusal = Refusal(RefusalCode.STEP_OUT_OF_ORDER, f"step {plan.step} came after step {self.last_step}")
            self.poison(refusal)
            return refusal
        self.last_step = plan.step
        return None

    def poison(self, refusal: Refusal) -> None:
        """Refuse the rest of the epoch: a plan of it was refused, and what follows was planned on top of that one."""
        if self._poison is None:
            self._poison = f"a plan after step {self.last_step} was refused, {refusal.code}: {refusal.message}"
