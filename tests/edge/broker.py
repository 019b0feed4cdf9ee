"""What is in a broker's stream of traffic."""

import nats

from tests.support.broker import Broker


async def in_stream(broker: Broker) -> list[bytes]:
    """The payloads, in order."""
    client = await nats.connect(broker.url, allow_reconnect=False)
    js = client.jetstream()
    last = (await js.stream_info("TRAFFIC")).state.last_seq
    found = []
    for seq in range(1, last + 1):
        message = await js.get_msg("TRAFFIC", seq)
        assert message.data is not None
        found.append(message.data)
    await client.close()
    return found
