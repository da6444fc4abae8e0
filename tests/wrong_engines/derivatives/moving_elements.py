from contextlib import contextmanager
from tests.wrong_engines.engine import wrong_engine
@wrong_engine("derivative-stub-moving-elements")
@contextmanager
def f(hit):
    yield
