// The backends that people use, built from their published Go modules and kept outside the repository
// (UNDERSPAN_BACKENDS_CACHE): the OpenTelemetry Collector by its own builder, Jaeger v2, and Tempo from a checkout, if one
// is named. A build takes minutes; a missing toolchain or module is an error that says what
// is missing.
import { cpSync, existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
import { runCommand } from './processes.js';

export const BACKENDS_CACHE =
  process.env.UNDERSPAN_BACKENDS_CACHE ?? path.join(homedir(), '.cache', 'underspan-backends');
const BUILD_MS = 3 * 3_600_000;

const COLLECTOR = 'v0.165.0';
const COLLECTOR_CONF = 'v1.71.0';
/** Jaeger 2.13: its Go module goes on counting from 1. */
const JAEGER = 'v1.76.0';

const CORE = 'go.opentelemetry.io/collector';
const CONTRIB = 'github.com/open-telemetry/opentelemetry-collector-contrib';

/** What otel-collector.yaml uses, and the connector for span metrics. */
const MANIFEST = {
  dist: { name: 'otelcol', description: 'What Underspan is tested with', version: COLLECTOR.slice(1) },
  receivers: [gomod(`${CORE}/receiver/otlpreceiver`)],
  processors: [gomod(`${CORE}/processor/batchprocessor`), gomod(`${CORE}/processor/memorylimiterprocessor`)],
  exporters: [gomod(`${CORE}/exporter/otlpexporter`), gomod(`${CONTRIB}/exporter/prometheusexporter`)],
  connectors: [gomod(`${CONTRIB}/connector/spanmetricsconnector`)],
  extensions: [gomod(`${CONTRIB}/extension/healthcheckextension`)],
  providers: ['envprovider', 'fileprovider', 'yamlprovider'].map(name =>
    gomod(`${CORE}/confmap/provider/${name}`, COLLECTOR_CONF),
  ),
};

function gomod(module: string, version = COLLECTOR): { gomod: string } {
  return { gomod: `${module} ${version}` };
}

/** The path of the Collector. */
export function collectorBinary(): Promise<string> {
  return cached(`otelcol-${COLLECTOR}`, async folder => {
    await go(['install', `${CORE}/cmd/builder@${COLLECTOR}`], folder, { GOBIN: folder });
    const manifest = path.join(folder, 'builder.json');
    writeFileSync(manifest, JSON.stringify({ ...MANIFEST, dist: { ...MANIFEST.dist, output_path: `${folder}/out` } }));
    await command(path.join(folder, 'builder'), ['--config', manifest], folder, {});
    return path.join(folder, 'out', 'otelcol');
  });
}

/** The path of Jaeger, without its user interface. */
export function jaegerBinary(): Promise<string> {
  return cached(`jaeger-${JAEGER}`, async folder => {
    const module = `github.com/jaegertracing/jaeger@${JAEGER}`;
    const downloaded = await go(['mod', 'download', '-json', module], folder, {});
    const { Dir } = JSON.parse(downloaded) as { readonly Dir: string };
    // `go install` refuses modules with replace directives; the module cache is read-only.
    const source = path.join(folder, 'source');
    cpSync(Dir, source, { recursive: true });
    await command('chmod', ['-R', 'u+w', source], folder, {});
    await go(['build', '-mod=mod', '-o', path.join(folder, 'jaeger'), './cmd/jaeger'], source, {});
    return path.join(folder, 'jaeger');
  });
}

const TEMPO_SOURCE = process.env.UNDERSPAN_TEMPO_SOURCE ?? '';

/** Tempo is no Go module that could be installed: it is tested where a checkout of it is named, or was once. */
export const hasTempo: boolean = TEMPO_SOURCE !== '' || existsSync(path.join(BACKENDS_CACHE, 'tempo'));

/** The path of Tempo, built from the checkout that UNDERSPAN_TEMPO_SOURCE names. */
export function tempoBinary(): Promise<string> {
  return cached('tempo', async folder => {
    await go(['build', '-mod=vendor', '-o', path.join(folder, 'tempo'), './cmd/tempo'], TEMPO_SOURCE, {});
    return path.join(folder, 'tempo');
  });
}

/** Builds in a folder of its own, and keeps what comes out under a name. */
async function cached(name: string, build: (folder: string) => Promise<string>): Promise<string> {
  const kept = path.join(BACKENDS_CACHE, name);
  if (existsSync(kept)) return kept;
  const folder = path.join(BACKENDS_CACHE, `${name}.building`);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const startMs = Date.now();
  const progress = setInterval(() => {
    console.log(`still building ${name}: ${Math.round((Date.now() - startMs) / 60_000)} min`);
  }, 60_000);
  console.log(`building ${name}, which takes minutes and is kept in ${BACKENDS_CACHE}`);
  try {
    renameSync(await build(folder), kept);
  } finally {
    clearInterval(progress);
    rmSync(folder, { recursive: true, force: true });
  }
  return kept;
}

function go(args: readonly string[], cwd: string, env: Record<string, string>): Promise<string> {
  return command('go', args, cwd, env);
}

/** Its standard output. The builds leave the machine to others. */
async function command(
  name: string,
  args: readonly string[],
  cwd: string,
  env: Record<string, string>,
): Promise<string> {
  const child = await runCommand('nice', ['-n', '10', name, ...args], {
    cwd,
    env: { GOFLAGS: '-buildvcs=false', GOWORK: 'off', ...env },
    timeoutMs: BUILD_MS,
  });
  if (child.exitCode === 0) return child.stdout;
  const hint =
    child.exitCode === 127 ? 'the Go toolchain is missing (Debian: golang-go)' : 'is the Go module proxy within reach?';
  throw new Error(`a backend cannot be built: ${name} ${args.join(' ')}: ${hint}\n${child.describe()}`);
}
