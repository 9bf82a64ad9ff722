"""Lambda, as its developer guide describes it."""


def test_a_function_answers(account):
    function = account.function("def handler(event, context):\n    return {'got': event, 'ms': context.get_remaining_time_in_millis() > 0}\n")
    assert account.invoke(function, {"a": 1}) == ({"got": {"a": 1}, "ms": True}, None)
