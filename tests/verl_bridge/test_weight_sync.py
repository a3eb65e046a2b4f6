"""Two runs on one machine, each with a Ray of its own, use different sockets for their weights."""

import asyncio
import inspect
import re
import threading
import time
from types import SimpleNamespace

import pytest
import ray
import torch
import zmq

from sp3f_verl.verl_bridge.cpu.platform import DEVICE_VARIABLE
from sp3f_verl.verl_bridge.engine import weight_sync

JOB = "01000000"  # of the first job of any Ray


def sockets(monkeypatch, address: str) -> tuple[str, str]:
    """Where the sender and the receiver of a run meet, in a Ray at this address."""
    from verl.workers.rollout.vllm_rollout.utils import vLLMColocateWorkerExtension
    from verl.workers.rollout.vllm_rollout.vllm_async_server import vLLMHttpServer
    from verl.workers.rollout.vllm_rollout.vllm_rollout import ServerAdapter

    name = re.search('zmq_handle = f"(ipc://[^"]+)"', inspect.getsource(inspect.getmodule(ServerAdapter)))[1]

    def sender(self):
        self.zmq_handle = re.sub("{.*?}", "0", name.replace("{job_id}", JOB))

    def server(self):
        monkeypatch.setenv(weight_sync.JOB_VARIABLE, JOB)

    monkeypatch.setattr(ray, "get_runtime_context", lambda: SimpleNamespace(gcs_address=address))
    monkeypatch.setattr(ServerAdapter, "__init__", sender)
    monkeypatch.setattr(vLLMHttpServer, "__init__", server)
    weight_sync.own_socket()
    weight_sync.own_socket_of_the_server()
    vLLMHttpServer()
    adapter = object.__new__(ServerAdapter)
    ServerAdapter.__init__(adapter)
    worker = SimpleNamespace(local_rank=0, model_runner=SimpleNamespace())
    return adapter.zmq_handle, vLLMColocateWorkerExtension._get_zmq_handle(worker)


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_sender_and_receiver_meet_and_no_other_run_is_there(monkeypatch, device):
    monkeypatch.setenv(DEVICE_VARIABLE, device)
    one, other = (sockets(monkeypatch, address) for address in ("10.0.0.1:6379", "10.0.0.1:6380"))
    assert one[0] == one[1] and other[0] == other[1] and one[0] != other[0]
    assert len(one[0].removeprefix("ipc://")) < 100  # a socket's path may have 107 bytes


def test_stock_verl_keeps_its_own(monkeypatch):
    monkeypatch.delenv(DEVICE_VARIABLE, raising=False)
    assert set(sockets(monkeypatch, "10.0.0.1:6379")) == {f"ipc:///tmp/rl-colocate-zmq-{JOB}-replica-0-rank-0.sock"}


def test_another_name_of_verls_is_told():
    with pytest.raises(RuntimeError, match=r"ipc:///tmp/x\.sock, which sp3f_verl does not know"):
        weight_sync.of_this_run("ipc:///tmp/x.sock")


@ray.remote(num_cpus=0)
class Server:
    """As far as a sync asks it."""

    def collective_rpc(self, method, **_):
        time.sleep(600)


@pytest.fixture(scope="module")
def cluster():
    ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture
def sync(cluster, monkeypatch, tmp_path):
    """(send, adapter): verl's, and a server that never takes anything."""
    from verl.workers.rollout.vllm_rollout.vllm_rollout import ServerAdapter  # the plugin has watched it by now

    monkeypatch.setattr(weight_sync, "LOOK_MILLISECONDS", 50)
    adapter = object.__new__(ServerAdapter)
    adapter._has_server, adapter.server_handle, adapter.use_shm = True, Server.remote(), True
    adapter.zmq_handle = f"ipc://{tmp_path}/sync"
    adapter.config = SimpleNamespace(checkpoint_engine=SimpleNamespace(update_weights_bucket_megabytes=1))

    def send():
        asyncio.run(adapter.update_weights(iter([("weight", torch.ones(3))])))

    return send, adapter


def test_a_sync_ends_with_a_sentence_where_its_server_is_killed(sync):
    """As Ray kills it where memory runs out; verl alone waits for it to take the weights for ever."""
    send, adapter = sync
    threading.Timer(1.0, ray.kill, [adapter.server_handle]).start()
    with pytest.raises(RuntimeError, match=r"^sp3f_verl: a rollout server is gone while it takes weights \(The actor"):
        send()


def test_a_sync_waits_for_a_server_that_lives(sync):
    send, adapter = sync
    received = []

    def take_late():
        time.sleep(0.5)  # ten looks
        socket = zmq.Context.instance().socket(zmq.REP)
        socket.connect(adapter.zmq_handle)
        while not (received and received[-1].get("is_last")):
            received.append(socket.recv_pyobj())
            socket.send(b"")
        socket.close()
        ray.kill(adapter.server_handle)  # it would answer; this one does not

    threading.Thread(target=take_late).start()
    with pytest.raises(ray.exceptions.RayActorError):
        send()
    assert list(received[-1]["bucket_meta"]) == ["weight"]
