"""The app as an MCP server, asked by the real client: one tool, which performs; the rest is for people."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest

from tests.conftest import RunningApp

mcp = pytest.importorskip("mcp", reason="the MCP server's package is not installed: pip install mcp")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    running = RunningApp(tmp_path_factory.mktemp("data"), mcp=True)
    yield running
    running.close()


def ask(server: RunningApp, question: Callable[[Any], Any]) -> Any:
    """Ask one question in a session of its own, and in a thread: the browser's client keeps a loop in ours."""
    from mcp.client.streamable_http import streamable_http_client

    async def session() -> Any:
        async with (
            streamable_http_client(f"{server.url}gradio_api/mcp/") as (read, write, _),
            mcp.ClientSession(read, write) as client,
        ):
            await client.initialize()
            return await question(client)

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, session()).result()


def test_performing_is_the_only_tool_and_says_what_it_takes(server):
    (tool,) = ask(server, lambda client: client.list_tools()).tools
    assert tool.name == "generate"
    assert tool.description.startswith("Perform a text as several different facial animations")
    properties = tool.inputSchema["properties"]
    assert list(properties) == ["text", "samples", "temperature", "seed", "guidance"]
    assert [properties[name]["type"] for name in properties] == ["string", "integer", "number", "integer", "number"]
    assert "1 to 500 characters" in properties["text"]["description"]
    assert [properties[name].get("default") for name in list(properties)[:4]] == [None, 4, 1.0, 7]
    (listed,) = httpx.get(f"{server.url}gradio_api/mcp/schema").json()  # what the Hub reads of a Space
    assert listed["name"] == "generate"
    assert not ask(server, lambda client: client.list_resources()).resources
    assert not ask(server, lambda client: client.list_prompts()).prompts


def test_the_tool_performs(server):
    call = {"text": "What a day!", "samples": 1, "temperature": 1.0, "seed": 3}
    (content,) = ask(server, lambda client: client.call_tool("generate", call)).content
    result = json.loads(content.text.replace("'", '"'))
    (clip,) = result["clips"]
    (want,) = server.generator.generate(**call)
    assert (result["text"], clip["seed"]) == ("What a day!", 3)
    assert np.array_equal(np.array(clip["coefficients"], dtype=np.float32), want.coefficients)


@pytest.mark.parametrize("name", ["rate", "choose", "generate_for_page", "take_away", "upload_file_to_gradio"])
def test_nothing_else_can_be_called(server, name):
    before = len(server.store.events())
    answer = ask(server, lambda client: client.call_tool(name, {"token": "t", "rater": "0" * 32, "score": 3}))
    assert answer.isError
    assert len(server.store.events()) == before


def test_bad_input_is_one_sentence(server):
    answer = ask(server, lambda client: client.call_tool("generate", {"text": " ", "samples": 1}))
    assert answer.isError
    (content,) = answer.content
    assert "Please type a sentence" in content.text


def test_without_the_switch_there_is_no_such_server(app):
    assert httpx.get(f"{app.url}gradio_api/mcp/schema").status_code == 404
