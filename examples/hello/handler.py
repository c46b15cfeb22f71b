"""The smallest function: the event comes in decoded, what is returned goes out as JSON."""


def handler(event, context):
    return {"hello": event.get("name", "world")}
