// From a process's facts to the Service that its spans and metrics carry: one OTLP resource per process. Attributes follow
// the resource conventions (service.*, process.*, host.*, container.*, k8s.*, telemetry.*). What the process was told about
// itself (OTEL_RESOURCE_ATTRIBUTES) counts more than what we found, but for what only an observer can say (process.*,
// telemetry.*); attributes from the config fill in what nobody said.
import { createHash } from 'node:crypto';
import { parseCgroupPath } from './container.js';
import type { HostFacts } from './host.js';
import type { ProcessFacts } from './process-facts.js';
import { parseResourceAttributes } from './resource-attributes.js';
import { runtimeOf } from './runtimes.js';
import type { Attributes, AttributeValue, Service } from './service.js';

export interface ResourceOptions {
  readonly host: HostFacts;
  /** Version of Underspan. */
  readonly version: string;
  /** Attributes for all services (`resource.attributes`, OTEL_RESOURCE_ATTRIBUTES of the agent); they override nothing. */
  readonly attributes: Attributes;
  /** Export `process.command_args`: off by default, since arguments hold secrets. */
  readonly keepArgs: boolean;
}

/** Builds the service of a process. `name` is its `service.name` (service-name.ts). */
export function buildService(id: number, facts: ProcessFacts, name: string, options: ResourceOptions): Service {
  const attributes = new AttributeList();
  attributes.set('service.name', name);
  for (const [key, value] of parseResourceAttributes(facts.environment.resourceAttributes)) {
    if (!key.startsWith('process.') && !key.startsWith('telemetry.')) attributes.set(key, value);
  }
  attributes.set('service.namespace', facts.pod?.namespace ?? '');
  attributes.set('service.instance.id', instanceId(facts, options.host));
  setProcess(attributes, facts, options.keepArgs);
  setPlace(attributes, facts, options.host);
  attributes.set('telemetry.sdk.language', facts.language);
  attributes.set('telemetry.sdk.name', 'underspan');
  attributes.set('telemetry.sdk.version', options.version);
  attributes.set('telemetry.distro.name', 'underspan');
  attributes.set('telemetry.distro.version', options.version);
  for (const [key, value] of options.attributes) if (!isOfOneService(key)) attributes.set(key, value);
  return {
    id,
    name: attributes.text('service.name'),
    namespace: attributes.text('service.namespace'),
    instanceId: attributes.text('service.instance.id'),
    attributes: attributes.entries(),
  };
}

/** The agent's own name and instance must not become every service's. */
function isOfOneService(key: string): boolean {
  return key === 'service.name' || key === 'service.instance.id';
}

function setProcess(attributes: AttributeList, facts: ProcessFacts, keepArgs: boolean): void {
  attributes.set('process.pid', facts.pid);
  if (facts.parentPid > 0) attributes.set('process.parent_pid', facts.parentPid);
  attributes.set('process.executable.name', facts.exeName);
  attributes.set('process.executable.path', facts.exePath);
  attributes.set('process.command', facts.args[0] ?? '');
  if (keepArgs && facts.args.length > 0) attributes.set('process.command_args', facts.args);
  attributes.set('process.owner', facts.owner);
  attributes.set(
    'process.runtime.name',
    runtimeOf(facts.exeName)?.runtimeName ?? (facts.language === 'go' ? 'go' : facts.runtimeName),
  );
}

function setPlace(attributes: AttributeList, facts: ProcessFacts, host: HostFacts): void {
  attributes.set('container.id', facts.containerId);
  const cgroup = parseCgroupPath(facts.cgroup);
  attributes.set('container.name', cgroup.containerName);
  attributes.set('k8s.pod.uid', cgroup.podUid);
  attributes.set('k8s.pod.name', facts.pod?.podName ?? '');
  attributes.set('k8s.namespace.name', facts.pod?.namespace ?? '');
  attributes.set('k8s.container.name', facts.pod?.containerName ?? '');
  attributes.set('host.name', host.name);
  attributes.set('host.id', host.id);
  attributes.set('host.arch', host.arch);
  attributes.set('os.type', 'linux');
}

/** Attributes in the order of their first setting; a later one does not override, and '' is not set at all. */
class AttributeList {
  readonly #values = new Map<string, AttributeValue>();

  set(key: string, value: AttributeValue): void {
    if (value !== '' && !this.#values.has(key)) this.#values.set(key, value);
  }

  text(key: string): string {
    return String(this.#values.get(key) ?? '');
  }

  entries(): Attributes {
    return [...this.#values];
  }
}

const UUID_NAMESPACE = Buffer.from('5b0e2a4c8d5f4e0c9a3b7f1d6c2e8a90', 'hex');

/**
 * `service.instance.id`: a name-based UUID (RFC 9562, section 5.5) of host, boot, pid and start time: the same each time
 * that the agent looks, another one for each process, for a reused pid as well.
 */
export function instanceId(facts: ProcessFacts, host: HostFacts): string {
  const name = `${host.id || host.name}/${host.bootId}/${facts.pid}/${facts.startNs}`;
  const hash = createHash('sha1').update(UUID_NAMESPACE).update(name).digest().subarray(0, 16);
  hash[6] = ((hash[6] as number) & 0x0f) | 0x50;
  hash[8] = ((hash[8] as number) & 0x3f) | 0x80;
  const hex = hash.toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
