// Records a real server under real load into test/fixtures/batches/, for test/unit/pipeline/batches.test.ts. By hand, as root,
// when there is reason to: `node dist/test/support/record-batches.js [NAME...]`. Out: NAME.bin.gz, what `underspan record`
// wrote, and NAME.json, what the server's own access log says of the same requests. The path of the checkout is replaced.
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { RecordingReader, RecordingWriter } from '../../src/recording.js';
import {
  EVENT_CONNECTION_CLOSED,
  EVENT_CONNECTION_OPENED,
  EVENT_CONNECTION_STATE,
  EventHeaderCursor,
} from '../../src/records/records.gen.js';
import { Agent, spawnAgent } from './agent.js';
import { runLoad } from './load-client.js';
import { freePort, temporaryDirectory } from './processes.js';
import { type Server, startGunicorn, startNginx, startNodeServer, startPuma } from './servers.js';

const FOLDER = 'test/fixtures/batches';
const REQUESTS = 80;
const CONNECTION_KINDS: ReadonlySet<number> = new Set([
  EVENT_CONNECTION_OPENED,
  EVENT_CONNECTION_STATE,
  EVENT_CONNECTION_CLOSED,
]);

const SERVERS: Readonly<Record<string, () => Promise<Server>>> = {
  node: () => startNodeServer(),
  nginx: () => startNginx(),
  gunicorn: () => startGunicorn({ workers: 2, threads: 2 }),
  puma: () => startPuma({ threads: 4 }),
};

/** The same bytes with the path of this checkout replaced by another of the same length: the file's lengths stay right. */
function anonymous(bytes: Buffer): Buffer {
  const here = process.cwd();
  return Buffer.from(bytes.toString('latin1').replaceAll(here, `/${'a'.repeat(here.length - 1)}`), 'latin1');
}

/** Copies a recording without what it says of processes that come and go on the machine: the facts of ours are frames. */
function copyConnections(from: string, to: string): void {
  const reader = new RecordingReader(from);
  const writer = new RecordingWriter(to, reader.header);
  for (let frame = reader.next(); frame !== null; frame = reader.next()) {
    if ('facts' in frame) writer.facts(frame.facts);
    else if ('clock' in frame) writer.clock(frame.clock);
    else writer.batch({ ...frame.batch, control: connectionRecords(frame.batch.control) });
  }
  reader.close();
  writer.close();
}

function connectionRecords(slab: Uint8Array): Uint8Array {
  const header = new EventHeaderCursor();
  const view = new DataView(slab.buffer, slab.byteOffset, slab.length);
  const kept: Uint8Array[] = [];
  for (let at = 0; at < slab.length; at += (header.size + 7) & ~7) {
    header.seek(view, at);
    if (CONNECTION_KINDS.has(header.kind)) kept.push(slab.subarray(at, at + ((header.size + 7) & ~7)));
  }
  return Buffer.concat(kept);
}

async function recordOne(name: string): Promise<void> {
  const start = SERVERS[name];
  if (start === undefined) throw new Error(`no server ${name}: one of ${Object.keys(SERVERS).join(', ')}`);
  const directory = temporaryDirectory('batches');
  const file = path.join(directory, 'batches.bin');
  const server = await start();
  try {
    const port = await freePort();
    const child = await spawnAgent({
      command: ['record', file],
      config: `selection: { include: [{ listen_port: ${server.port} }, { peer_port: ${server.port} }] }\n`,
      env: { UNDERSPAN_ADMIN_PORT: String(port) },
    });
    const agent = await new Agent(child, port).ready(20_000);
    const load = {
      profile: server.profile,
      seed: 11,
      connections: 6,
      requests: REQUESTS,
      areUploadsEchoed: name === 'node',
    };
    const { summary } = await runLoad({ ...server.target, ...load });
    if (summary.failed > 0) throw new Error(summary.firstErrors.join('\n'));
    const log = await server.accessLog(REQUESTS);
    await agent.stop();
    copyConnections(file, `${file}.ours`);
    writeFileSync(path.join(FOLDER, `${name}.bin.gz`), gzipSync(anonymous(readFileSync(`${file}.ours`)), { level: 9 }));
    writeFileSync(path.join(FOLDER, `${name}.json`), `${JSON.stringify(log, null, 1)}\n`);
    console.log(`${name}: ${REQUESTS} requests`);
  } finally {
    await server.stop();
  }
}

const names = process.argv.slice(2);
for (const name of names.length > 0 ? names : Object.keys(SERVERS)) await recordOne(name);
