// The deployment files against each other and against the tree: what one file names exists in the other, ports match, and
// the image holds what the agent opens. No container engine is needed; that the programs of others accept their files was
// checked by hand (compose-spec's JSON schema, promtool), since neither can be had at test time without a network.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, normalize } from 'node:path';
import test, { describe } from 'node:test';
import { parse, parseAllDocuments } from 'yaml';
import { CapabilitySet, missingForProbes } from '../../../src/cli/capabilities.js';
import { loadConfig } from '../../../src/config/load.js';
import { EXIT } from '../../../src/errors.js';

type Tree = { readonly [key: string]: Tree };

interface ComposeService {
  readonly image: string;
  readonly build?: { readonly context: string; readonly dockerfile: string };
  readonly command?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly volumes?: readonly string[];
  readonly ports?: readonly string[];
  readonly depends_on?: readonly string[];
  readonly cap_drop?: readonly string[];
  readonly cap_add?: readonly string[];
  readonly privileged?: boolean;
  readonly pid?: string;
  readonly cgroup?: string;
}

function readYaml<T>(path: string): T {
  return parse(readFileSync(path, 'utf8')) as T;
}

const compose = readYaml<{ services: Record<string, ComposeService>; volumes: Tree }>('docker/compose.yaml');
const collector = readYaml<Tree>('otel-collector.yaml');
const jaeger = readYaml<Tree>('docker/jaeger.yaml');
const tempo = readYaml<Tree>('docker/tempo.yaml');
const prometheus = readYaml<{
  scrape_configs: readonly { static_configs: readonly { targets: readonly string[] }[] }[];
}>('docker/prometheus.yaml');
const dockerfile = readFileSync('docker/Dockerfile', 'utf8');
const services = Object.entries(compose.services);

/** The value at a path of keys; fails if it is not there. */
function at(tree: Tree, ...keys: readonly string[]): unknown {
  let value: unknown = tree;
  for (const key of keys) {
    assert.ok(typeof value === 'object' && value !== null && key in value, `${keys.join('.')} is missing`);
    value = (value as Tree)[key];
  }
  return value;
}

function portOf(endpoint: unknown): number {
  const port = Number(/:(\d+)(\/|$)/.exec(String(endpoint))?.[1]);
  assert.ok(port > 0, `${endpoint} names no port`);
  return port;
}

/** Ports that each service's own configuration opens for others. */
const LISTENS: Readonly<Record<string, readonly number[]>> = {
  collector: [
    portOf(at(collector, 'receivers', 'otlp', 'protocols', 'grpc', 'endpoint')),
    portOf(at(collector, 'receivers', 'otlp', 'protocols', 'http', 'endpoint')),
    portOf(at(collector, 'exporters', 'prometheus', 'endpoint')),
    ...(at(collector, 'service', 'telemetry', 'metrics', 'readers') as readonly Tree[]).map(reader =>
      Number(at(reader, 'pull', 'exporter', 'prometheus', 'port')),
    ),
  ],
  jaeger: [
    portOf(at(jaeger, 'receivers', 'otlp', 'protocols', 'grpc', 'endpoint')),
    portOf(at(jaeger, 'extensions', 'jaeger_query', 'http', 'endpoint')),
  ],
  tempo: [
    portOf(at(tempo, 'distributor', 'receivers', 'otlp', 'protocols', 'grpc', 'endpoint')),
    Number(at(tempo, 'server', 'http_listen_port')),
  ],
  // Their defaults, which no file of ours changes.
  prometheus: [9090],
  grafana: [3000],
};

function assertReachable(url: string, from: string): void {
  const match = /^(?:https?:\/\/)?([\w-]+):(\d+)/.exec(url);
  assert.ok(match, `${from}: ${url} names no service and port`);
  const [, host = '', port] = match;
  assert.ok(host in compose.services, `${from}: there is no service ${host}`);
  assert.ok(LISTENS[host]?.includes(Number(port)), `${from}: ${host} does not listen on ${port}`);
}

test('compose: what services refer to exists', () => {
  for (const [name, service] of services) {
    for (const other of service.depends_on ?? []) assert.ok(other in compose.services, `${name} waits for ${other}`);
    assert.match(service.image, /:v?\d+\.\d+\.\d+$/, `${name}: an exact version`);
    for (const volume of service.volumes ?? []) {
      const [source = '', target = ''] = volume.split(':');
      assert.ok(target.startsWith('/'), volume);
      if (source.startsWith('.')) assert.ok(existsSync(join('docker', source)), `${name}: ${source} does not exist`);
      else assert.ok(source in compose.volumes, `${name}: volume ${source} is not declared`);
    }
  }
});

test('compose: a configuration file that a command names is mounted there', () => {
  let named = 0;
  for (const [name, service] of services) {
    const targets = (service.volumes ?? []).map(volume => volume.split(':')[1]);
    for (const path of (service.command ?? []).join(' ').match(/\/etc\/\S+/g) ?? []) {
      assert.ok(targets.includes(path), `${name}: nothing is mounted at ${path}`);
      named++;
    }
  }
  assert.equal(named, 5);
});

test('compose: what is published is what the service listens on, and on loopback only', () => {
  for (const [name, service] of services) {
    for (const port of service.ports ?? []) {
      const match = /^127\.0\.0\.1:\d+:(\d+)$/.exec(port);
      assert.ok(match, `${name}: ${port} is open to others`);
      assert.ok(LISTENS[name]?.includes(Number(match[1])), `${name} does not listen on ${match[1]}`);
    }
  }
});

test('compose: the agent has the capabilities that it asks for, and no more than the Dockerfile explains', () => {
  const agent = compose.services.agent;
  assert.ok(agent);
  assert.deepEqual(agent.cap_drop, ['ALL']);
  assert.notEqual(agent.privileged, true);
  for (const name of missingForProbes(new CapabilitySet(0n))) {
    assert.ok(agent.cap_add?.includes(name.replace(/^CAP_/, '')), `${name} is missing`);
  }
  for (const name of agent.cap_add ?? []) {
    assert.match(dockerfile, new RegExp(`^# {3}${name} +\\S`, 'm'), `${name} is not explained`);
    assert.ok(dockerfile.includes(`--cap-add=${name}`), `docker run lacks ${name}`);
  }
  assert.equal(agent.pid, 'host');
  assert.equal(agent.cgroup, 'host');
});

test('every address of the way from agent to screen leads to a port that is open', () => {
  assertReachable(compose.services.agent?.environment?.OTEL_EXPORTER_OTLP_ENDPOINT ?? '', 'agent');
  for (const exporter of ['otlp_grpc/jaeger', 'otlp_grpc/tempo']) {
    assertReachable(String(at(collector, 'exporters', exporter, 'endpoint')), exporter);
  }
  for (const { static_configs } of prometheus.scrape_configs) {
    for (const target of static_configs.flatMap(config => config.targets)) assertReachable(target, 'prometheus.yaml');
  }
  for (const { url } of at(tempo, 'metrics_generator', 'storage', 'remote_write') as readonly { url: string }[]) {
    assertReachable(url, 'tempo.yaml');
    assert.ok(compose.services.prometheus?.command?.includes('--web.enable-remote-write-receiver'));
  }
  const { datasources } = readYaml<{ datasources: readonly { url: string; name: string }[] }>(
    'docker/grafana/provisioning/datasources/datasources.yaml',
  );
  assert.equal(datasources.length, 3);
  for (const { url, name } of datasources) assertReachable(url, name);
});

test('data sources that refer to others name one that exists', () => {
  const { datasources } = readYaml<{ datasources: readonly (Tree & { uid: string })[] }>(
    'docker/grafana/provisioning/datasources/datasources.yaml',
  );
  const uids = new Set(datasources.map(source => source.uid));
  const references = JSON.stringify(datasources).match(/"datasourceUid":"(\w+)"/g) ?? [];
  assert.ok(references.length > 0);
  for (const reference of references) assert.ok(uids.has(/:"(\w+)"/.exec(reference)?.[1] ?? ''), reference);
});

for (const [file, config] of [
  ['otel-collector.yaml', collector],
  ['docker/jaeger.yaml', jaeger],
] as const) {
  test(`${file}: every component that is used is configured, and the other way round`, () => {
    const used = new Map<string, Set<string>>(['receivers', 'processors', 'exporters'].map(kind => [kind, new Set()]));
    for (const pipeline of Object.values(at(config, 'service', 'pipelines') as Tree)) {
      for (const [kind, names] of used) for (const name of at(pipeline, kind) as unknown as string[]) names.add(name);
    }
    used.set('extensions', new Set(at(config, 'service', 'extensions') as string[]));
    for (const [kind, names] of used) {
      assert.deepEqual([...names].sort(), Object.keys(at(config, kind) as Tree).sort(), kind);
    }
  });
}

test('docker/underspan.yaml is a configuration that this agent takes', () => {
  const { config, warnings } = loadConfig({
    file: 'docker/underspan.yaml',
    environment: compose.services.agent?.environment ?? {},
  });
  assert.deepEqual(warnings, []);
  assert.deepEqual(config.traces.exporters, ['otlp']);
  assert.equal(config.otlp.traces.endpoint, compose.services.agent?.environment?.OTEL_EXPORTER_OTLP_ENDPOINT);
  assert.ok(config.selection.exclude.length > 0);
});

test('the image is built from files that exist and that the build context has', () => {
  const ignore = readFileSync('docker/Dockerfile.dockerignore', 'utf8');
  const allowed = new Set(ignore.split('\n').flatMap(line => (line.startsWith('!') ? [line.slice(1)] : [])));
  let copied = 0;
  for (const [, from = '', paths = ''] of dockerfile.matchAll(/^COPY (--from=build )?(.+)$/gm)) {
    if (from !== '') continue;
    for (const source of paths.split(' ').slice(0, -1)) {
      assert.ok(existsSync(source), `${source} does not exist`);
      assert.ok(allowed.has(source), `${source} is not in the build context`);
      copied++;
    }
  }
  assert.ok(copied >= 6);
  for (const path of allowed) assert.ok(existsSync(path), `${path} does not exist`);
});

test('the image holds what the agent opens, where it looks for it', () => {
  const copies = [...dockerfile.matchAll(/^COPY --from=build (.+) (\S+)$/gm)].map(([, from = '', to = '']) => ({
    from,
    to,
  }));
  // dist/src/kernel/host.ts looks in ../../../build, dist/src/agent.ts for ../../package.json.
  assert.ok(copies.some(({ from, to }) => from.includes('/build/build/underspan.bpf.o') && to === 'build/'));
  assert.ok(copies.some(({ from, to }) => from.includes('/build/build/host.node') && to === 'build/'));
  assert.ok(copies.some(({ from, to }) => from === '/build/package.json' && to === './'));
  const { bin } = JSON.parse(readFileSync('package.json', 'utf8')) as { bin: Record<string, string> };
  const workdir = /^WORKDIR (\/opt\S+)$/m.exec(dockerfile)?.[1] ?? '';
  assert.ok(dockerfile.includes(`ENTRYPOINT ["node", "${workdir}/${bin.underspan}"]`));
  assert.ok(copies.some(({ to }) => bin.underspan?.startsWith(`${to}/`)));
});

test('the Dockerfile that compose builds is this one, from the root of the checkout', () => {
  const build = compose.services.agent?.build;
  assert.ok(build);
  const context = normalize(join('docker', build.context));
  assert.ok(statSync(join(context, build.dockerfile)).isFile());
  assert.equal(dirname(build.dockerfile), 'docker');
  assert.ok(existsSync(join(context, 'package.json')));
});

test('dashboards: provisioned from where compose mounts them, and each its own', () => {
  const { providers } = readYaml<{ providers: readonly { options: { path: string } }[] }>(
    'docker/grafana/provisioning/dashboards/dashboards.yaml',
  );
  const mounts = (compose.services.grafana?.volumes ?? []).map(volume => volume.split(':'));
  const source = mounts.find(([, target]) => target === providers[0]?.options.path)?.[0] ?? '';
  const folder = join('docker', source);
  const uids = new Set<string>();
  const known = new Set(
    readYaml<{ datasources: readonly { uid: string }[] }>(
      'docker/grafana/provisioning/datasources/datasources.yaml',
    ).datasources.map(({ uid }) => uid),
  );
  for (const file of readdirSync(folder)) {
    const text = readFileSync(join(folder, file), 'utf8');
    const dashboard = JSON.parse(text) as { uid: string; panels: readonly { id: number; title: string }[] };
    assert.ok(!uids.has(dashboard.uid), file);
    uids.add(dashboard.uid);
    assert.equal(new Set(dashboard.panels.map(({ id }) => id)).size, dashboard.panels.length, file);
    for (const [, uid = ''] of text.matchAll(/"datasource": \{\s*"type": "\w+",\s*"uid": "(\w+)"/g))
      assert.ok(known.has(uid));
  }
  assert.equal(uids.size, 3);
});

describe('Kubernetes', () => {
  const documents = parseAllDocuments(readFileSync('docker/kubernetes.yaml', 'utf8')).map(
    document => document.toJS() as Tree & { readonly kind: string; readonly metadata: { readonly name: string } },
  );
  const objectOf = (kind: string): Tree => {
    const found = documents.find(document => document.kind === kind);
    assert.ok(found, kind);
    return found;
  };
  const pod = at(objectOf('DaemonSet'), 'spec', 'template', 'spec') as Tree;
  const container = (pod.containers as unknown as readonly Tree[])[0] as Tree;
  const env = new Map(
    (container.env as unknown as readonly { name: string; value?: string }[]).map(({ name, value }) => [name, value]),
  );

  test('what the pods refer to is there', () => {
    assert.equal(pod.serviceAccountName, at(objectOf('ServiceAccount'), 'metadata', 'name'));
    const selector = at(objectOf('DaemonSet'), 'spec', 'selector', 'matchLabels');
    assert.deepEqual(at(objectOf('DaemonSet'), 'spec', 'template', 'metadata', 'labels'), selector);
    const volumes = new Set((pod.volumes as unknown as readonly { name: string }[]).map(({ name }) => name));
    const mounts = container.volumeMounts as unknown as readonly { name: string; mountPath: string }[];
    for (const { name } of mounts) assert.ok(volumes.has(name), name);
    const directory = env.get('UNDERSPAN_QUEUE_DIR') ?? '';
    assert.ok(mounts.some(({ mountPath }) => directory.startsWith(`${mountPath}/`)));
  });

  test('least privileges: the four capabilities, no more, no token, nothing to write to but the state', () => {
    assert.equal(pod.automountServiceAccountToken, false);
    assert.equal(at(objectOf('ServiceAccount'), 'automountServiceAccountToken'), false);
    const context = container.securityContext as Tree;
    assert.deepEqual(at(context, 'capabilities'), { drop: ['ALL'], add: compose.services.agent?.cap_add });
    assert.equal(context.allowPrivilegeEscalation, false);
    assert.equal(context.privileged, false);
    assert.equal(context.readOnlyRootFilesystem, true);
    assert.equal(documents.filter(({ kind }) => /Role/.test(kind)).length, 0);
  });

  test('its probes ask the paths and the port that the agent answers', () => {
    const ports = container.ports as unknown as readonly { name: string; containerPort: number }[];
    const { config } = loadConfig({ environment: {} });
    assert.deepEqual(ports, [{ name: 'metrics', containerPort: config.admin.port }]);
    for (const [probe, path] of [
      ['startupProbe', '/readyz'],
      ['readinessProbe', '/readyz'],
      ['livenessProbe', '/healthz'],
    ] as const) {
      assert.deepEqual(at(container, probe, 'httpGet'), { path, port: 'metrics' });
    }
    assert.ok(env.has('OTEL_EXPORTER_PROMETHEUS_HOST'), 'the loopback default is not reached from outside of the pod');
  });

  test('its configuration is one that this agent takes', () => {
    const file = join(mkdtempSync(join(tmpdir(), 'underspan-k8s-')), 'underspan.yaml');
    writeFileSync(file, String(at(objectOf('ConfigMap'), 'data', 'underspan.yaml')));
    const given = [...env].flatMap(([name, value]) =>
      name !== 'NODE_NAME' && value !== undefined ? [[name, value]] : [],
    );
    const { config, warnings } = loadConfig({ file, environment: Object.fromEntries(given) });
    rmSync(dirname(file), { recursive: true });
    assert.deepEqual(warnings, []);
    assert.deepEqual(config.traces.exporters, ['otlp']);
  });
});

describe('systemd', () => {
  const unit = readFileSync('docker/underspan.service', 'utf8');
  const setting = (key: string): string => new RegExp(`^${key}=(.*)$`, 'm').exec(unit)?.[1] ?? '';

  test('systemd takes the unit without a word, and finds it well contained', () => {
    const folder = mkdtempSync(join(tmpdir(), 'underspan-unit-'));
    const file = join(folder, 'underspan.service');
    // It also looks for the program, which is elsewhere on this machine.
    writeFileSync(file, unit.replace('/usr/bin/node', process.execPath));
    const verified = spawnSync('systemd-analyze', ['verify', '--man=no', file], { encoding: 'utf8' });
    const rated = spawnSync('systemd-analyze', ['security', '--offline=true', '--no-pager', '--threshold=30', file], {
      encoding: 'utf8',
    });
    rmSync(folder, { recursive: true });
    // Of units that other packages have brought it says something, too.
    const isOurs = (line: string): boolean => line !== '' && !/^\/(?:usr\/)?lib\/systemd\//.test(line);
    const said = (verified.stdout + verified.stderr).split('\n').filter(isOurs);
    assert.deepEqual([verified.status, said], [0, []]);
    assert.equal(rated.status, 0, rated.stdout.split('\n').at(-2));
  });

  test('it has the same capabilities as the container, and a place for what is kept', () => {
    const wanted = (compose.services.agent?.cap_add ?? []).map(name => `CAP_${name}`).join(' ');
    assert.equal(setting('AmbientCapabilities'), wanted);
    assert.equal(setting('CapabilityBoundingSet'), wanted);
    const { config } = loadConfig({ environment: {} });
    assert.equal(`/var/lib/${setting('StateDirectory')}`, config.queue.directory);
  });

  test('it does not start again what cannot start', () => {
    assert.equal(setting('RestartPreventExitStatus'), `${EXIT.usage} ${EXIT.environment}`);
  });
});
