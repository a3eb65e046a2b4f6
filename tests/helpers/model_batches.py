"""OpenAI's files and batches for model_server.py: upload, submit, poll, collect, and what goes wrong between."""

import json
import re
from typing import Any


class Batches:
    """Each line of a batch is answered by the server's `reply`, when the batch ends.

    polls: looks at a batch before it ends. ends: of the batches in turn, and then completed for ever: "expired" (its
    second half is not answered), "failed" (nothing is). hang_after_submit: a batch is made, and the answer never comes.
    error: of a batch that fails. made: the batches, in order; a batch is the JSON object that the server tells.
    """

    def __init__(self, server: Any):
        self._server, self._files = server, {}
        self.polls, self.ends, self.hang_after_submit = 1, [], False
        self.error = {"code": "invalid_json_line", "message": "Line 3 is no request"}
        self.made: list[dict[str, Any]] = []
        self._left: dict[str, int] = {}

    @staticmethod
    def serves(path: str) -> bool:
        return re.search(r"/v1/(files|batches)(/|$)", path) is not None

    def reply(self, request: Any, content: bytes, body: Any) -> Any:
        from helpers.model_server import Reply

        *_, kind, name = ("/" + request.path.split("/v1/")[1]).removesuffix("/content").split("/")[-2:]
        if name == "files":
            return Reply(json=self._upload(request, content))
        if name == "batches" and request.method == "POST":
            return Reply(json=self._submit(body), hang=self.hang_after_submit)
        if name == "batches":
            newest_first = self.made[::-1]
            start = next((i + 1 for i, each in enumerate(newest_first) if each["id"] == request.query.get("after")), 0)
            page = newest_first[start : start + int(request.query["limit"])]
            return Reply(json={"data": page, "has_more": start + len(page) < len(self.made)})
        if kind == "files" and name in self._files:
            return Reply(raw=self._files[name])
        for batch in self.made:
            if batch["id"] == name:
                return Reply(json=self._look(batch))
        return Reply(status=404, json={"error": {"message": f"no {name}"}})

    def _upload(self, request: Any, content: bytes) -> dict[str, Any]:
        boundary = re.search(r"boundary=\"?([^\";]+)", request.headers["Content-Type"])[1].encode()
        parts = [part.partition(b"\r\n\r\n") for part in content.split(b"--" + boundary)[1:-1]]
        fields = {
            re.search(rb'name="(\w+)"', head)[1].decode(): value.removesuffix(b"\r\n") for head, _, value in parts
        }
        assert fields["purpose"] == b"batch", fields
        return {"id": self._keep(fields["file"])}

    def _keep(self, content: bytes) -> str:
        name = f"file-{len(self._files)}"
        self._files[name] = content
        return name

    def _submit(self, body: dict[str, Any]) -> dict[str, Any]:
        assert body["endpoint"] == "/v1/chat/completions" and body["completion_window"] == "24h", body
        batch = {"id": f"batch-{len(self.made)}", "status": "in_progress", **body}
        self.made.append(batch)
        self._left[batch["id"]] = self.polls
        return batch

    def _look(self, batch: dict[str, Any]) -> dict[str, Any]:
        if batch["status"] == "in_progress":
            self._left[batch["id"]] -= 1
            if self._left[batch["id"]] < 0:
                self._end(batch)
        return batch

    def _end(self, batch: dict[str, Any]) -> None:
        batch["status"] = self.ends.pop(0) if self.ends else "completed"
        if batch["status"] == "failed":
            batch["errors"] = {"data": [self.error]}
            return
        lines = [json.loads(line) for line in self._files[batch["input_file_id"]].splitlines()]
        answered = lines[: len(lines) // 2] if batch["status"] == "expired" else lines
        out, errors = [], []
        for line in answered:
            body, status = self._answer(line["body"])
            response = {"status_code": status, "request_id": "r", "body": json.loads(body)}
            done = {"id": "x", "custom_id": line["custom_id"], "response": response, "error": None}
            (out if status == 200 else errors).append(done)
        for line in lines[len(answered) :]:
            error = {"code": "batch_expired", "message": "This request could not be executed before the expiration."}
            errors.append({"id": "x", "custom_id": line["custom_id"], "response": None, "error": error})
        for field, each in (("output_file_id", out[::-1]), ("error_file_id", errors)):
            told = [json.dumps(line, ensure_ascii=False) for line in each]  # as pydantic writes: U+2028 as it is
            batch[field] = self._keep("\n".join(told).encode()) if each else None
        batch["request_counts"] = {"total": len(lines), "completed": len(out), "failed": len(errors)}

    def _answer(self, body: dict[str, Any]) -> tuple[bytes, int]:
        from helpers.model_server import Reply

        reply = self._server.reply(body)
        reply = Reply(text=reply) if isinstance(reply, str) else reply
        return reply.body(body["model"]), reply.status
