import assert from 'node:assert/strict';
import test from 'node:test';
import type { HostFacts } from '../../../src/enrichment/host.js';
import { type ProcessFacts, unknownFacts } from '../../../src/enrichment/process-facts.js';
import { buildService, instanceId } from '../../../src/enrichment/resource.js';
import { facts } from './facts.js';

const HOST: HostFacts = { name: 'vm', id: 'a'.repeat(32), bootId: 'boot', arch: 'amd64', users: [] };
const OPTIONS = { host: HOST, version: '0.1.0', attributes: [], keepArgs: false };

function told(resourceAttributes: string): Partial<ProcessFacts> {
  return { environment: { serviceName: '', resourceAttributes, otlpVariables: [] } };
}

test('the resource of a process', () => {
  const given = facts('/usr/bin/python3', 'python3 shop.py', {
    parentPid: 7,
    startNs: 5e9,
    owner: 'ann',
    language: 'python',
  });
  assert.deepEqual(Object.fromEntries(buildService(3, given, 'shop', OPTIONS).attributes), {
    'service.name': 'shop',
    'service.instance.id': instanceId(given, HOST),
    'process.pid': 100,
    'process.parent_pid': 7,
    'process.executable.name': 'python3',
    'process.executable.path': '/usr/bin/python3',
    'process.command': 'python3',
    'process.owner': 'ann',
    'process.runtime.name': 'cpython',
    'host.name': 'vm',
    'host.id': 'a'.repeat(32),
    'host.arch': 'amd64',
    'os.type': 'linux',
    'telemetry.sdk.language': 'python',
    'telemetry.sdk.name': 'underspan',
    'telemetry.sdk.version': '0.1.0',
    'telemetry.distro.name': 'underspan',
    'telemetry.distro.version': '0.1.0',
  });
});

test('what is not known is left out', () => {
  const keys = buildService(0, unknownFacts(5), 'unknown_service', OPTIONS).attributes.map(([key]) => key);
  for (const key of [
    'container.id',
    'telemetry.sdk.language',
    'process.parent_pid',
    'process.owner',
    'service.namespace',
  ]) {
    assert.ok(!keys.includes(key), key);
  }
});

test('what a process was told about itself wins, but for what only an observer can say', () => {
  const given = facts(
    '/bin/shop',
    'shop',
    told('host.name=mine,service.namespace=ns,process.pid=1,telemetry.sdk.name=x,team=blue'),
  );
  const service = buildService(0, given, 'shop', OPTIONS);
  const attributes = new Map(service.attributes);
  assert.equal(attributes.get('host.name'), 'mine');
  assert.equal(attributes.get('team'), 'blue');
  assert.equal(attributes.get('process.pid'), 100);
  assert.equal(attributes.get('telemetry.sdk.name'), 'underspan');
  assert.equal(service.namespace, 'ns');
});

test('OTEL_SERVICE_NAME stays the name if the attributes name another', () => {
  const service = buildService(
    0,
    facts('/bin/shop', 'shop', told('service.name=other,service.instance.id=i-1')),
    'shop',
    OPTIONS,
  );
  assert.equal(service.name, 'shop');
  assert.equal(service.instanceId, 'i-1');
});

test("the config's attributes override nothing, and never name a service or an instance", () => {
  const attributes = [
    ['deployment.environment.name', 'prod'],
    ['host.name', 'other'],
    ['service.name', 'underspan'],
    ['service.instance.id', 'one'],
  ] as const;
  const service = buildService(0, facts('/bin/shop', 'shop'), 'shop', { ...OPTIONS, attributes });
  const found = new Map(service.attributes);
  assert.equal(found.get('deployment.environment.name'), 'prod');
  assert.equal(found.get('host.name'), 'vm');
  assert.equal(service.name, 'shop');
  assert.equal(service.instanceId, instanceId(facts('/bin/shop', 'shop'), HOST));
});

test('Kubernetes: the namespace is the namespace of the service', () => {
  const pod = { podName: 'cart-x2', namespace: 'prod', containerName: 'cart' };
  const cgroup = '/kubepods/pod0123456789abcdef0123456789abcdef/x';
  const service = buildService(0, facts('/bin/shop', 'shop', { pod, cgroup }), 'cart', OPTIONS);
  const found = new Map(service.attributes);
  assert.equal(service.namespace, 'prod');
  assert.equal(found.get('k8s.pod.uid'), '0123456789abcdef0123456789abcdef');
  assert.equal(found.get('k8s.container.name'), 'cart');
});

test('the instance id is a UUID of version 5, the same each time, another one for each process, start, boot and host', () => {
  const one = facts('/bin/shop', 'shop', { startNs: 5e9 });
  const id = instanceId(one, HOST);
  assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.equal(instanceId({ ...one }, { ...HOST }), id);
  const others = [
    instanceId({ ...one, pid: 101 }, HOST),
    instanceId({ ...one, startNs: 6e9 }, HOST),
    instanceId(one, { ...HOST, bootId: 'next' }),
    instanceId(one, { ...HOST, id: 'b'.repeat(32) }),
  ];
  assert.equal(new Set([id, ...others]).size, 5);
});
