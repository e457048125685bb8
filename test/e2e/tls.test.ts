// Requests over TLS, held against the servers' and the client's own logs: every one has both its spans, with the right peer,
// joined into one trace by the sequence pair. The servers are as their makers ship them: OpenSSL on the socket (nginx,
// Apache, Python's threads), OpenSSL between memory buffers (Node.js, asyncio). One agent watches all; some servers are
// older than it.
import assert from 'node:assert/strict';
import test, { after, before } from 'node:test';
import { type Agent, startAgent } from '../support/agent.js';
import { type Certificate, makeCertificate } from '../support/certificate.js';
import { head } from '../support/compare.js';
import { type Phase, runPhase } from '../support/experiment.js';
import { type OtlpReceiver, startOtlpReceiver } from '../support/otlp-receiver.js';
import { type Server, startApache, startNginx, startNodeServer, startPythonTls } from '../support/servers.js';
import { type DecodedSpan, describe, number, text } from '../support/spans.js';
import {
  assertAttributes,
  assertOneTrace,
  assertSame,
  assertTimeline,
  assertWitnessesAgree,
} from '../support/verdicts.js';

const LOAD = { connections: 50, requests: 600 };

let receiver: OtlpReceiver;
let certificate: Certificate;
let agent: Agent;
const older: Server[] = [];

before(async () => {
  receiver = await startOtlpReceiver({ grpc: true, http: false });
  certificate = await makeCertificate();
  older.push(await startNginx({ certificate }), await startPythonTls('asyncio', certificate));
  agent = await startAgent({ endpoint: receiver.grpcUrl });
});

after(async () => {
  await agent?.stop();
  for (const server of older) await server.stop();
  await receiver?.close();
});

/** The span says https, and where the other side is. */
function faultsOf(span: DecodedSpan, server: Server): string[] {
  const faults: string[] = [];
  const isClient = span.kind === 3;
  if (text(span, 'url.scheme') !== 'https') faults.push(`url.scheme ${text(span, 'url.scheme')}`);
  if (text(span, 'network.peer.address') !== '127.0.0.1') faults.push('no peer address');
  if (isClient && number(span, 'network.peer.port') !== server.port) faults.push('not the port of the server');
  return faults.map(fault => `${fault}: ${describe(span)}`);
}

function judge(phase: Phase): void {
  assertWitnessesAgree(phase);
  assertSame('SERVER', phase, phase.serverSide);
  assertSame('CLIENT', phase, phase.clientSide);
  assertOneTrace(phase);
  assertAttributes(phase);
  assertTimeline(phase);
  const pairs = [...phase.serverSide.pairs, ...phase.clientSide.pairs];
  const faults = pairs.flatMap(({ span }) => faultsOf(span, phase.server));
  assert.equal(faults.length, 0, head(faults));
}

async function play(server: Server): Promise<void> {
  const phase = await runPhase('tls', server, agent, receiver, { ...LOAD, seed: 7, firstNumber: 0, loggedBefore: 0 });
  judge(phase);
}

test('nginx, older than the agent', () => play(older[0] as Server));
test('asyncio, older than the agent', () => play(older[1] as Server));

for (const [name, start] of [
  ['Apache', () => startApache({ certificate })],
  ['Node.js', () => startNodeServer({ certificate })],
  ["Python's http.server", () => startPythonTls('threads', certificate)],
] as const) {
  test(`${name}, younger than the agent`, async () => {
    const server = await start();
    try {
      await play(server);
    } finally {
      await server.stop();
    }
  });
}
