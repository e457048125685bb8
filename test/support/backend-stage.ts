// The backends of docker/compose.yaml as processes on loopback, with the files that compose mounts: only the addresses in
// them are exchanged for free ports, the scrape interval is shortened, and what a test adds is said here. They print; the
// test reads what.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parse } from 'yaml';
import { get } from './agent.js';
import { collectorBinary, hasTempo, jaegerBinary, tempoBinary } from './backends.js';
import { Child, freePort, temporaryDirectory, until } from './processes.js';

export const BACKENDS = ['collector', 'jaeger', 'tempo', 'prometheus'] as const;
export type BackendName = (typeof BACKENDS)[number];

export interface Backends {
  /** OTLP over gRPC: the Collector's, or Jaeger's own where there is no Collector, '' where there is neither. */
  readonly otlpUrl: string;
  /** '' if it is missing, as the others. */
  readonly jaegerUrl: string;
  readonly tempoUrl: string;
  readonly prometheusUrl: string;
  readonly children: Readonly<Partial<Record<BackendName, Child>>>;
  /** Throws what is in the way if one of them could not be had. */
  need(...names: BackendName[]): void;
  stop(): Promise<void>;
}

type Tree = Record<string, unknown>;

/** Reads a YAML file, exchanging each address that is named in `addresses`. */
function readConfig(file: string, addresses: Readonly<Record<string, string>>): Tree {
  let text = readFileSync(file, 'utf8');
  for (const [from, to] of Object.entries(addresses)) {
    if (!text.includes(from)) throw new Error(`${file} has no ${from} any more`);
    text = text.replaceAll(from, to);
  }
  return parse(text) as Tree;
}

function at(tree: Tree, ...keys: string[]): Tree {
  return keys.reduce((inner, key) => inner[key] as Tree, tree);
}

/** JSON is YAML. */
function write(folder: string, name: string, config: Tree): string {
  const file = path.join(folder, name);
  writeFileSync(file, JSON.stringify(config, null, 2));
  return file;
}

/**
 * Builds what is not built, starts what could be had, and waits until it is ready. `agentMetrics`: host:port of the
 * agent's /metrics.
 */
export async function startBackends(agentMetrics: string): Promise<Backends> {
  const missing = new Map<BackendName, string>();
  const had = (name: BackendName, binary: Promise<string>): Promise<string | null> =>
    binary.catch((error: Error) => {
      console.log(`not tested: ${name}: ${error.message}`);
      missing.set(name, error.message);
      return null;
    });
  const jaeger = await had('jaeger', jaegerBinary());
  const tempo = hasTempo ? await had('tempo', tempoBinary()) : null;
  const otelcol = await had('collector', collectorBinary());
  const folder = temporaryDirectory('backends');
  const port = async (): Promise<string> => `127.0.0.1:${await freePort()}`;
  const jaegerOtlp = await port();
  const jaegerQuery = await port();
  const tempoOtlp = await port();
  const tempoQuery = await freePort();
  const otlp = await port();
  const metrics = await port();
  const telemetry = await port();
  const prometheus = await port();
  const children: Partial<Record<BackendName, Child>> = {};

  if (jaeger !== null) {
    const jaegerConfig = readConfig('docker/jaeger.yaml', {
      '0.0.0.0:4317': jaegerOtlp,
      '0.0.0.0:16686': jaegerQuery,
      '0.0.0.0:13133': await port(),
    });
    // Its second listener, which compose leaves at the default.
    Object.assign(at(jaegerConfig, 'extensions', 'jaeger_query'), { grpc: { endpoint: await port() } });
    // Jaeger tells of its own over a port that is the same for all.
    Object.assign(at(jaegerConfig, 'service'), { telemetry: { metrics: { level: 'none' } } });
    children.jaeger = new Child(jaeger, ['--config', write(folder, 'jaeger.yaml', jaegerConfig)], {
      // Its own traces, which it would send to the usual port of this machine.
      env: { OTEL_TRACES_SAMPLER: 'always_off' },
    });
  }

  if (tempo !== null) {
    const tempoConfig = readConfig('docker/tempo.yaml', {
      '0.0.0.0:4317': tempoOtlp,
      '/var/tempo': path.join(folder, 'tempo'),
      'prometheus:9090': prometheus,
      'http_listen_port: 3200': `http_listen_port: ${tempoQuery}`,
    });
    Object.assign(at(tempoConfig, 'server'), {
      http_listen_address: '127.0.0.1',
      grpc_listen_address: '127.0.0.1',
      grpc_listen_port: await freePort(),
    });
    children.tempo = new Child(tempo, ['-target=all', `-config.file=${write(folder, 'tempo.yaml', tempoConfig)}`]);
  }

  const prometheusConfig = readConfig('docker/prometheus.yaml', {
    'collector:8889': metrics,
    'collector:8888': telemetry,
    'scrape_interval: 15s': 'scrape_interval: 1s',
  });
  // Besides: the agent's own page. The same series come by the Collector too; a label tells them apart.
  const scrapes = prometheusConfig.scrape_configs as Tree[];
  if (otelcol === null) scrapes.length = 0;
  scrapes.push({
    job_name: 'agent',
    honor_labels: true,
    static_configs: [{ targets: [agentMetrics], labels: { via: 'agent' } }],
  });
  children.prometheus = new Child('prometheus', [
    `--config.file=${write(folder, 'prometheus.yaml', prometheusConfig)}`,
    `--storage.tsdb.path=${path.join(folder, 'prometheus')}`,
    `--web.listen-address=${prometheus}`,
    '--web.enable-remote-write-receiver',
  ]);

  if (children.jaeger) await ready('jaeger', children.jaeger, `http://${jaegerQuery}/api/services`);
  if (children.tempo) await ready('tempo', children.tempo, `http://127.0.0.1:${tempoQuery}/ready`);
  await ready('prometheus', children.prometheus, `http://${prometheus}/-/ready`);
  // Last: it warns of a receiver that is not there yet.
  if (otelcol !== null) {
    const collectorConfig = readConfig('otel-collector.yaml', {
      '0.0.0.0:4317': otlp,
      '0.0.0.0:4318': await port(),
      '0.0.0.0:8889': metrics,
      '0.0.0.0:13133': await port(),
      'jaeger:4317': jaegerOtlp,
      'tempo:4317': tempoOtlp,
      'host: 0.0.0.0': 'host: 127.0.0.1',
      'port: 8888': `port: ${telemetry.split(':')[1]}`,
    });
    const pipelines = at(collectorConfig, 'service', 'pipelines');
    const traceExporters = (pipelines.traces as { exporters: string[] }).exporters;
    for (const name of ['jaeger', 'tempo']) {
      if (children[name as BackendName] !== undefined) continue;
      traceExporters.splice(traceExporters.indexOf(`otlp_grpc/${name}`), 1);
      delete at(collectorConfig, 'exporters')[`otlp_grpc/${name}`];
    }
    traceExporters.push('span_metrics');
    (pipelines.metrics as { receivers: string[] }).receivers.push('span_metrics');
    collectorConfig.connectors = { span_metrics: { metrics_flush_interval: '2s' } };
    children.collector = new Child(otelcol, ['--config', write(folder, 'otel-collector.yaml', collectorConfig)]);
  }
  if (children.collector) await ready('collector', children.collector, `http://${metrics}/metrics`);

  return {
    otlpUrl: otelcol !== null ? `http://${otlp}` : jaeger !== null ? `http://${jaegerOtlp}` : '',
    jaegerUrl: jaeger === null ? '' : `http://${jaegerQuery}`,
    tempoUrl: tempo === null ? '' : `http://127.0.0.1:${tempoQuery}`,
    prometheusUrl: `http://${prometheus}`,
    children,
    need: (...names) => {
      for (const name of names) assert.ok(!missing.has(name), `${name} is missing: ${missing.get(name)}`);
    },
    stop: async () => {
      await Promise.all(Object.values(children).map(child => child.stop(10_000)));
    },
  };
}

async function ready(name: string, child: Child, url: string): Promise<void> {
  await until(
    `${name} to be ready`,
    90_000,
    async () => {
      if (!child.isRunning) throw new Error(`${name} ended: ${child.describe()}`);
      return (await get(url)).status === 200 ? true : null;
    },
    200,
  ).catch(error => {
    throw new Error(`${(error as Error).message}\n${child.describe()}`);
  });
}
