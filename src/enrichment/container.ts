// The text of /proc/PID/cgroup (v1, v2 or both) goes in; the container, the Kubernetes pod and the systemd unit that the
// path names come out. Nothing is looked up: what the path does not say stays ''. Layouts: Docker, containerd and CRI,
// CRI-O, Podman, nerdctl, ECS by a 64-digit id; LXC and systemd-nspawn by the machine's name; nested ones by the
// innermost. Semantic conventions: container.id, k8s.pod.uid.

/** What a cgroup path says; '' where it says nothing. */
export interface CgroupFacts {
  /** The path that the rest was read from, or the longest one of the file. */
  readonly path: string;
  /** `container.id`; for LXC and systemd-nspawn the machine's name. */
  readonly containerId: string;
  /** Name of an LXC or systemd-nspawn machine. */
  readonly containerName: string;
  /** `k8s.pod.uid`, with dashes. */
  readonly podUid: string;
  /** systemd service unit without `.service` and without a template's instance. */
  readonly unit: string;
}

export const NO_CGROUP: CgroupFacts = { path: '', containerId: '', containerName: '', podUid: '', unit: '' };

// A prefix ends in '-' (docker-ID.scope) or ':' (the systemd driver of old containerd: SLICE:cri-containerd:ID).
const HEX_ID = /^(?:(.*)[-:])?([0-9a-f]{64})(?:\.scope)?$/;
const FARGATE_ID = /^[0-9a-f]{32}-\d{6,12}$/;
const POD_UID =
  /(?:^|[-:])pod([0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12}|[0-9a-f]{32})(?=$|[.:/])/;
const MACHINES: readonly RegExp[] = [
  /^lxc\.payload\.(.+)$/,
  /^systemd-nspawn@(.+)\.service$/,
  // libvirt registers its virtual machines here as well: those are not containers.
  /^machine-(?!qemu(?:\\x2d|-))(.+)\.scope$/,
];
// Supervisors live in a cgroup that carries the id of the container they watch over.
const MONITOR = /conmon|monitor/;
const RUNTIME_UNIT = /^(?:docker|containerd|crio|cri-docker|podman|kubelet|k3s|k3s-agent|rke2-server|user)$/;
const PATHS_MAX = 64;

/** Reads the whole text of /proc/PID/cgroup. Any text is accepted. */
export function parseCgroup(text: string): CgroupFacts {
  let longest = '';
  let named: CgroupFacts | null = null;
  for (const line of text.split('\n', PATHS_MAX)) {
    const path = pathOf(line);
    if (path.length > longest.length) longest = path;
    const facts = parseCgroupPath(path);
    if (facts.containerId !== '' && (named === null || path.length > named.path.length)) named = facts;
  }
  return named ?? parseCgroupPath(longest);
}

/** Reads one cgroup path such as `/system.slice/docker-ID.scope`. */
export function parseCgroupPath(path: string): CgroupFacts {
  let containerId = '';
  let containerName = '';
  let podUid = '';
  let unit = '';
  const segments = path.split('/');
  for (let i = segments.length - 1; i >= 0; i--) {
    const segment = segments[i] as string;
    podUid ||= podUidOf(segment);
    if (containerId !== '') continue;
    containerName = machineOf(segment, segments[i - 1] ?? '');
    containerId = containerName || containerIdOf(segment, segments[i - 1] ?? '');
    if (containerId === '') unit ||= unitOf(segment);
  }
  return { path, containerId, containerName, podUid, unit };
}

/** `hierarchy:controllers:path`; the path may hold colons itself. */
function pathOf(line: string): string {
  const second = line.indexOf(':', line.indexOf(':') + 1);
  return second > 0 ? line.slice(second + 1) : '';
}

function containerIdOf(segment: string, parent: string): string {
  const match = HEX_ID.exec(segment);
  if (match !== null) return MONITOR.test(match[1] ?? '') ? '' : (match[2] as string);
  return FARGATE_ID.test(segment) && /^[0-9a-f]{32}$/.test(parent) ? segment : '';
}

function machineOf(segment: string, parent: string): string {
  for (const pattern of MACHINES) {
    const match = pattern.exec(segment);
    if (match !== null) return unescapeUnit(match[1] as string);
  }
  return parent === 'lxc' ? segment : '';
}

function podUidOf(segment: string): string {
  const match = POD_UID.exec(segment);
  return match === null ? '' : (match[1] as string).replaceAll('_', '-');
}

function unitOf(segment: string): string {
  if (!segment.endsWith('.service')) return '';
  const name = unescapeUnit(segment.slice(0, -'.service'.length)).replace(/@.*$/, '');
  return RUNTIME_UNIT.test(name) ? '' : name;
}

/** systemd writes bytes that are not allowed in a unit's name as `\xHH` (systemd.unit(5), "String Escaping"). */
function unescapeUnit(name: string): string {
  return name.replace(/\\x([0-9a-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}
