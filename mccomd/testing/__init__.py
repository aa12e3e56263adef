"""For plugin authors: does a part keep its contract? Each check raises AssertionError with what to change.

    from mccomd.testing import check_retriever, query
    def test_my_retriever():
        check_retriever(MyRetriever(), query(prefix="for name in os."))

They ask the part as the daemon does, several times and with awkward input, and measure nothing finer than its
time budget. The built-in parts are held to the same checks.
"""

from mccomd.testing.checks import check_backend, check_retriever, check_router
from mccomd.testing.material import FakeTransport, context, evidence, query, request

__all__ = [
    "FakeTransport",
    "check_backend",
    "check_retriever",
    "check_router",
    "context",
    "evidence",
    "query",
    "request",
]
