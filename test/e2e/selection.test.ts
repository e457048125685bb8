// Which processes are observed: by pid, executable, script and ports, included and excluded, and the ones that start
// after the agent did.
import assert from 'node:assert/strict';
import test, { after, before } from 'node:test';
import { collectSpans, startAgent } from '../support/agent.js';
import { type OtlpReceiver, startOtlpReceiver } from '../support/otlp-receiver.js';
import { freePort, runCommand } from '../support/processes.js';
import { type Server, startNginx, startNodeProxy, startNodeServer } from '../support/servers.js';
import { CLIENT, type DecodedSpan, number, pathOfSpan, SERVER, text } from '../support/spans.js';

let receiver: OtlpReceiver;
let first: Server;
let second: Server;
let run = 0;

before(async () => {
  receiver = await startOtlpReceiver({ grpc: true, http: false });
  first = await startNodeServer();
  second = await startNodeServer();
});

after(async () => {
  await first?.stop();
  await second?.stop();
  await receiver?.close();
});

/** One request by curl; the path says which server and which run it belongs to. */
async function ask(server: Server, name: string): Promise<void> {
  const child = await runCommand('curl', [
    '--silent',
    '--fail',
    '--output',
    '/dev/null',
    `${server.url}/bytes/1/${name}`,
  ]);
  assert.equal(child.exitCode, 0, child.describe());
}

const label = (span: DecodedSpan) =>
  `${span.kind === SERVER ? 'SERVER' : span.kind === CLIENT ? 'CLIENT' : span.name} ${pathOfSpan(span).split('/').at(-1)}`;

/** Runs an agent with this selection while `work` makes requests; which HTTP spans came of it, sorted. */
async function observed(selection: string, expected: number, work: (run: number) => Promise<void>): Promise<string[]> {
  const agent = await startAgent({ endpoint: receiver.grpcUrl, config: `selection:\n${selection}` });
  const mine = ++run;
  try {
    await work(mine);
    const isMine = (span: DecodedSpan) => pathOfSpan(span).endsWith(`-${mine}`);
    const spans = await collectSpans(receiver, isMine, expected, 3000);
    return spans.map(label).sort();
  } finally {
    await agent.stop();
  }
}

test('by pid', async () => {
  const seen = await observed(`  include:\n    - pid: ${first.child.pid}\n`, 1, async mine => {
    await ask(first, `first-${mine}`);
    await ask(second, `second-${mine}`);
  });
  assert.deepEqual(seen, [`SERVER first-${run}`]);
});

test('by listening port, and by peer port of clients', async () => {
  const selection = `  include:\n    - listen_port: ${first.port}\n    - peer_port: ${second.port}\n`;
  const seen = await observed(selection, 2, async mine => {
    await ask(first, `first-${mine}`);
    await ask(second, `second-${mine}`);
  });
  assert.deepEqual(seen, [`CLIENT second-${run}`, `SERVER first-${run}`]);
});

test('exclusion wins over inclusion', async () => {
  const selection = `  exclude:\n    - listen_port: ${first.port}\n    - exe: curl\n`;
  const seen = await observed(selection, 1, async mine => {
    await ask(first, `first-${mine}`);
    await ask(second, `second-${mine}`);
  });
  assert.deepEqual(seen, [`SERVER second-${run}`]);
});

test('by executable and by script; processes that start later are picked up at exec', async () => {
  const selection = '  include:\n    - exe: nginx\n    - script: node-proxy.mjs\n';
  const started: Server[] = [];
  try {
    const seen = await observed(selection, 3, async mine => {
      const nginx = await startNginx();
      started.push(nginx);
      const proxy = await startNodeProxy(nginx.port);
      started.push(proxy);
      await ask(first, `first-${mine}`);
      await ask(nginx, `nginx-${mine}`);
      await ask(proxy, `proxy-${mine}`);
    });
    // The proxy's own request to nginx is seen on both sides, curl and the other node server are not.
    const expected = [`CLIENT proxy-${run}`, `SERVER nginx-${run}`, `SERVER proxy-${run}`, `SERVER proxy-${run}`];
    assert.deepEqual(seen, expected);
  } finally {
    for (const server of started.reverse()) await server.stop();
  }
});

test('a client that lives for milliseconds is picked up by its executable', async () => {
  const seen = await observed('  include:\n    - exe: curl\n', 5, async mine => {
    for (let index = 0; index < 5; index++) await ask(first, `short-${index}-${mine}`);
  });
  assert.deepEqual(
    seen,
    [0, 1, 2, 3, 4].map(index => `CLIENT short-${index}-${run}`),
  );
});

test('criteria of one selector must all hold', async () => {
  const selection = `  include:\n    - exe: node\n      listen_port: ${second.port}\n    - exe: nginx\n      pid: ${first.child.pid}\n`;
  const seen = await observed(selection, 1, async mine => {
    await ask(first, `first-${mine}`);
    await ask(second, `second-${mine}`);
  });
  assert.deepEqual(seen, [`SERVER second-${run}`]);
});

test('connects that fail are selected by the port that they were for, like those that do not', async () => {
  const [wanted, other] = [await freePort(), await freePort()];
  for (const selection of [
    `  exclude:\n    - peer_port: ${other}\n`,
    `  include:\n    - listen_port: ${first.port}\n    - peer_port: ${wanted}\n`,
  ]) {
    const agent = await startAgent({ endpoint: receiver.grpcUrl, config: `selection:\n${selection}` });
    receiver.clear();
    try {
      for (const port of [other, wanted])
        assert.notEqual((await runCommand('curl', ['--silent', `http://127.0.0.1:${port}/`])).exitCode, 0);
      const isIts = (span: DecodedSpan): boolean => [wanted, other].includes(number(span, 'network.peer.port'));
      const spans = await collectSpans(receiver, isIts, 1, 5000);
      assert.deepEqual(
        spans.map(span => [span.name, number(span, 'network.peer.port'), text(span, 'error.type')]),
        [['socket connect', wanted, 'ECONNREFUSED']],
        selection,
      );
    } finally {
      await agent.stop();
    }
  }
});
