"""The endpoint, as little of it as answers like the real one: ``python -m tests.benchmarks.server MILLISECONDS``.

It checks nothing, so that what is measured is the client. ``GET /count`` says how many tickets were posted.
"""

from __future__ import annotations

import asyncio
import sys

from aiohttp import web


async def serve(latency: float) -> None:
    """Answer on a free port, whose address is printed, until the process is ended."""
    posted = 0

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        nonlocal posted
        await request.read()
        if request.method == "GET":
            return web.json_response({"posted": posted})
        posted += 1
        number = posted
        if latency:
            await asyncio.sleep(latency)
        text = f'{{"status":"ok","aiContactId":"00000000-0000-4000-8000-{number:012d}"}}'
        return web.Response(body=text.encode(), content_type="application/json")

    runner = web.ServerRunner(web.Server(answer, access_log=None))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
    await site.start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[1]) / 1000))
