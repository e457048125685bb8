// A path comes in, a route of low cardinality goes out (`http.route`): first the configured patterns of the service,
// then what its traffic has shown (route-trie.ts). All of it is bounded; what no longer fits is OVERFLOW_ROUTE.
//
//   service.id -> routes of the service's name -> path -> node       one Map lookup each for what was seen before
import { detached, OVERFLOW_ROUTE, RouteNode, RouteTrie } from './route-trie.js';
import type { Service } from './service.js';

export { OVERFLOW_ROUTE };

const DEFAULT_MAX_ROUTES = 100;
/** Bounds of what is held for all services together; beyond, the oldest service or all cached paths are forgotten. */
const MAX_SERVICES = 512;
const MAX_SERVICE_IDS = 8192;
const MAX_CACHED_PATHS = 16384;
const MAX_CACHED_PATH_LENGTH = 256;
const NOT_FOUND = 404;

/**
 * Patterns for the services whose name the glob matches, tried in order: `/users/{id}`, `/users/:id` (one segment),
 * `/static/*` (the rest of the path; inside a pattern, one segment).
 */
export interface ServicePatterns {
  readonly service: string;
  readonly patterns: readonly string[];
}

export interface RouteOptions {
  readonly patterns?: readonly ServicePatterns[];
  /** Learnt routes of one service; configured patterns do not count. Default 100. */
  readonly maxRoutes?: number;
}

interface Pattern {
  readonly expression: RegExp;
  readonly node: RouteNode;
}

/** What is known of one service; its instances share it. */
class ServiceRoutes {
  readonly name: string;
  patterns: readonly Pattern[];
  readonly trie = new RouteTrie();
  readonly paths = new Map<string, RouteNode>();

  constructor(name: string, patterns: readonly Pattern[]) {
    this.name = name;
    this.patterns = patterns;
  }

  resolve(path: string, isLearning: boolean, maxRoutes: number): RouteNode | null {
    for (const pattern of this.patterns) if (pattern.expression.test(path)) return pattern.node;
    const folds = this.trie.foldCount;
    const node = this.trie.resolve(path, isLearning, maxRoutes);
    if (this.trie.foldCount !== folds) this.paths.clear();
    return node;
  }
}

export class RouteTable {
  #patterns: readonly ServicePatterns[];
  #maxRoutes: number;
  readonly #byName = new Map<string, ServiceRoutes>();
  readonly #byId = new Map<number, ServiceRoutes>();
  #cachedPaths = 0;

  constructor(options: RouteOptions = {}) {
    this.#patterns = options.patterns ?? [];
    this.#maxRoutes = options.maxRoutes ?? DEFAULT_MAX_ROUTES;
  }

  /** Takes new patterns and bound (reload). What was learnt stays; a lower bound only stops further learning. */
  configure(options: RouteOptions): void {
    this.#patterns = options.patterns ?? [];
    this.#maxRoutes = options.maxRoutes ?? DEFAULT_MAX_ROUTES;
    for (const routes of this.#byName.values()) routes.patterns = this.#patternsOf(routes.name);
    this.#clearPaths();
    this.#byId.clear();
  }

  /**
   * The route of a path (or of a request target: a query is cut off, absolute-form is understood). '' if there is no
   * path (`*`, authority-form), or if `status` is 404 and the path fits no route that is known: a 404 says that the
   * service has no route there, so scanners teach us nothing.
   */
  route(service: Service, path: string, status = 0): string {
    const plain = targetPath(path);
    if (!plain.startsWith('/')) return '';
    const routes = this.#byId.get(service.id) ?? this.#adopt(service);
    let node = routes.paths.get(plain) ?? null;
    if (node === null) {
      node = routes.resolve(plain, status !== NOT_FOUND, this.#maxRoutes);
      if (node === null) return '';
      this.#remember(routes, plain, node);
    }
    node.hits++;
    return node.route;
  }

  /** Forgets a process that is gone; what its service taught stays. */
  forget(serviceId: number): void {
    this.#byId.delete(serviceId);
  }

  #remember(routes: ServiceRoutes, path: string, node: RouteNode): void {
    if (path.length > MAX_CACHED_PATH_LENGTH) return;
    if (++this.#cachedPaths > MAX_CACHED_PATHS) this.#clearPaths();
    routes.paths.set(detached(path), node);
  }

  #clearPaths(): void {
    for (const routes of this.#byName.values()) routes.paths.clear();
    this.#cachedPaths = 0;
  }

  #adopt(service: Service): ServiceRoutes {
    const key = `${service.namespace}\n${service.name}`;
    let routes = this.#byName.get(key);
    if (routes === undefined) {
      if (this.#byName.size >= MAX_SERVICES) this.#evictOldest();
      routes = new ServiceRoutes(service.name, this.#patternsOf(service.name));
      this.#byName.set(key, routes);
    }
    if (this.#byId.size >= MAX_SERVICE_IDS) this.#byId.clear();
    this.#byId.set(service.id, routes);
    return routes;
  }

  #evictOldest(): void {
    for (const [key, routes] of this.#byName) {
      this.#byName.delete(key);
      this.#cachedPaths -= routes.paths.size;
      this.#byId.clear();
      return;
    }
  }

  #patternsOf(serviceName: string): Pattern[] {
    return this.#patterns
      .filter(entry => globExpression(entry.service).test(serviceName))
      .flatMap(entry => entry.patterns.map(compilePattern));
  }
}

/** The path of a request target (RFC 9112 section 3.2); '' of authority-form, `*` of asterisk-form. */
export function targetPath(target: string): string {
  const query = target.indexOf('?');
  const head = query < 0 ? target : target.slice(0, query);
  if (head.startsWith('/') || head === '*') return head;
  const authority = head.indexOf('://');
  if (authority < 0) return '';
  const slash = head.indexOf('/', authority + 3);
  return slash < 0 ? '/' : head.slice(slash);
}

function compilePattern(pattern: string): Pattern {
  const node = new RouteNode(pattern);
  const source = pattern.split(/(\{[^}/]*\}|:[A-Za-z_]\w*|\*+)/).map((part, index, parts) => {
    if (index % 2 === 0) return escapeExpression(part);
    const isRest = part.startsWith('*') && index === parts.length - 2 && parts[index + 1] === '';
    return isRest ? '.*' : '[^/]+';
  });
  return { expression: new RegExp(`^${source.join('')}/?$`), node };
}

function globExpression(glob: string): RegExp {
  const source = glob.split(/([*?])/).map(part => (part === '*' ? '.*' : part === '?' ? '.' : escapeExpression(part)));
  return new RegExp(`^${source.join('')}$`);
}

function escapeExpression(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
