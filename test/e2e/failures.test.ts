// Failures are spans too: connections refused, unreachable or timed out, and answers that never came.
import assert from 'node:assert/strict';
import test, { after, before } from 'node:test';
import { type Agent, collectSpans, startAgent } from '../support/agent.js';
import { type OtlpReceiver, startOtlpReceiver } from '../support/otlp-receiver.js';
import { Child, freePort, runCommand, until } from '../support/processes.js';
import {
  CLIENT,
  type DecodedSpan,
  describe,
  durationMs,
  number,
  pathOfSpan,
  pidOf,
  STATUS_ERROR,
  text,
} from '../support/spans.js';

const PYTHON = '/usr/bin/python3';
let receiver: OtlpReceiver;
let agent: Agent;

before(async () => {
  receiver = await startOtlpReceiver({ grpc: true, http: false });
  agent = await startAgent({ endpoint: receiver.grpcUrl });
});

after(async () => {
  await agent?.stop();
  await receiver?.close();
});

/** The one failed `socket connect` span of a process. */
async function failedConnect(pid: number, errorType: string, port: number): Promise<DecodedSpan> {
  const spans = await collectSpans(receiver, span => pidOf(span) === pid, 1);
  assert.equal(spans.length, 1, `one span of process ${pid} expected:\n${spans.map(describe).join('\n')}`);
  const span = spans[0] as DecodedSpan;
  assert.match(span.name, /^socket connect/);
  assert.equal(text(span, 'error.type'), errorType, describe(span));
  assert.equal(span.status.code, STATUS_ERROR, describe(span));
  assert.equal(number(span, 'network.peer.port'), port, describe(span));
  assert.equal(text(span, 'network.peer.address'), '127.0.0.1', describe(span));
  return span;
}

test('connection refused, non-blocking connect (curl)', async () => {
  const port = await freePort();
  const child = await runCommand('curl', ['--silent', '--output', '/dev/null', `http://127.0.0.1:${port}/`]);
  assert.equal(child.exitCode, 7, child.describe());
  const span = await failedConnect(child.pid, 'ECONNREFUSED', port);
  assert.ok(durationMs(span) < 50, describe(span));
});

test('connection refused, blocking connect', async () => {
  const port = await freePort();
  const script = `import socket\ntry: socket.create_connection(("127.0.0.1", ${port}))\nexcept ConnectionRefusedError: print("refused")`;
  const child = await runCommand(PYTHON, ['-c', script]);
  assert.equal(child.stdout, 'refused\n', child.describe());
  await failedConnect(child.pid, 'ECONNREFUSED', port);
});

test('network unreachable', async () => {
  // In a network namespace of its own the loopback interface is down.
  const child = await runCommand('unshare', ['--net', 'curl', '--silent', 'http://127.0.0.1:8080/']);
  assert.equal(child.exitCode, 7, child.describe());
  await failedConnect(child.pid, 'ENETUNREACH', 8080);
});

test('connect timed out', async () => {
  // A full accept queue makes the kernel drop SYNs; two of them are sent, one and three seconds apart.
  const script = `
import socket
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen(0)
address = listener.getsockname()
fill = [socket.socket() for _ in range(4)]
for one in fill:
    one.setblocking(False)
    one.connect_ex(address)
late = socket.socket()
late.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, 1)
print(address[1], flush=True)
try:
    late.connect(address)
    print("connected")
except TimeoutError:
    print(late.fileno() >= 0 and "timed out")
`;
  const child = await runCommand(PYTHON, ['-c', script]);
  const [port, outcome] = child.stdout.trimEnd().split('\n');
  assert.equal(outcome, 'timed out', child.describe());
  const wanted = (span: DecodedSpan) => pidOf(span) === child.pid && text(span, 'error.type') === 'ETIMEDOUT';
  const spans = await collectSpans(receiver, wanted, 1);
  assert.equal(
    spans.length,
    1,
    receiver
      .spans()
      .filter(span => pidOf(span) === child.pid)
      .map(describe)
      .join('\n'),
  );
  const span = spans[0] as DecodedSpan;
  assert.match(span.name, /^socket connect/);
  assert.equal(number(span, 'network.peer.port'), Number(port));
  assert.equal(span.status.code, STATUS_ERROR);
  assert.ok(durationMs(span) > 2500 && durationMs(span) < 6000, describe(span));
});

/** A server that takes one request after the other and misbehaves as its path says. */
const RUDE_SERVER = `
import socket, struct
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen(16)
print(listener.getsockname()[1], flush=True)
while True:
    peer, _ = listener.accept()
    path = peer.recv(65536).split(b" ")[1]
    if path == b"/reset":
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    elif path == b"/truncated":
        peer.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 1000\\r\\n\\r\\nonly this")
    peer.close()
`;

test('answers that never came or ended early', async t => {
  const server = new Child(PYTHON, ['-u', '-c', RUDE_SERVER]);
  try {
    const port = Number(await until('the port', 5000, () => (server.stdout.endsWith('\n') ? server.stdout : null)));
    const requestSpan = async (path: string, exitCode: number): Promise<DecodedSpan> => {
      const child = await runCommand('curl', ['--silent', '--output', '/dev/null', `http://127.0.0.1:${port}${path}`]);
      assert.equal(child.exitCode, exitCode, child.describe());
      const spans = await collectSpans(receiver, span => span.kind === CLIENT && pidOf(span) === child.pid, 1);
      assert.equal(spans.length, 1, spans.map(describe).join('\n'));
      const span = spans[0] as DecodedSpan;
      assert.equal(pathOfSpan(span), path);
      assert.equal(span.status.code, STATUS_ERROR, describe(span));
      return span;
    };
    await t.test('reset by the server: error.type ECONNRESET', async () => {
      const span = await requestSpan('/reset', 56);
      assert.equal(text(span, 'error.type'), 'ECONNRESET', describe(span));
      assert.ok(!span.attributes.has('http.response.status_code'), describe(span));
    });
    await t.test('closed without an answer', async () => {
      const span = await requestSpan('/closed', 52);
      assert.notEqual(text(span, 'error.type'), '', describe(span));
      assert.ok(!span.attributes.has('http.response.status_code'), describe(span));
    });
    await t.test('closed in the middle of the body', async () => {
      const span = await requestSpan('/truncated', 18);
      assert.notEqual(text(span, 'error.type'), '', describe(span));
      assert.equal(number(span, 'http.response.status_code'), 200, describe(span));
    });
  } finally {
    await server.stop();
  }
});
