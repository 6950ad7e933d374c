"""What is compiled before requests come is all that they need."""

from numba.core import event

from services.prism.calibration import Calibration
from services.prism.fleet import Fleet, Pool
from services.prism.rehearsal import rehearse
from services.prism.route import choose
from tests.unit.prism.builders import MODEL, PROMISED, engine
from tests.unit.prism.test_route import ASK


def test_after_the_rehearsal_a_decision_compiles_nothing() -> None:
    rehearse()
    fleet = Fleet(pool=Pool.of([engine("a", decode_seqs=3), engine("b")]), age_s=0.0)
    with event.install_recorder("numba:compile") as compiled:
        choose(fleet, {}, ASK, PROMISED, model=MODEL, draw=0.5, calibration=Calibration())
    assert not compiled.buffer
