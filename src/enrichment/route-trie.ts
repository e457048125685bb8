// The routes that the traffic of one service has shown: a trie of path segments with at most `maxRoutes` ends. A position
// that keeps taking new values which hardly ever come back is folded: its values become `{id}` and their subtrees one.
// What is lost: with the bound reached and nothing left to fold, further paths are all OVERFLOW_ROUTE.
import { ID, isLiteral, routeSegments } from './route-segment.js';

/** Route of everything beyond the bound. */
export const OVERFLOW_ROUTE = '/*';

/** A value seen this often or less counts as rare. */
const RARE_HITS = 2;
/** Share of maxRoutes that one position may have as children before it is looked at, and its least value. */
const WIDTH_SHARE = 0.4;
const MIN_WIDTH = 8;

export class RouteNode {
  route: string;
  /** A path has ended here. */
  isRoute = false;
  /** Literals at this position are all `{id}`. */
  isFolded = false;
  hits = 0;
  readonly children = new Map<string, RouteNode>();

  constructor(route: string) {
    this.route = route;
  }
}

export class RouteTrie {
  readonly #root = new RouteNode('/');
  readonly #overflow = new RouteNode(OVERFLOW_ROUTE);
  #routeCount = 0;
  /** The bound at which nothing was left to fold: hits only grow, so it need not be tried again. */
  #fullAt = 0;
  #foldCount = 0;

  get routeCount(): number {
    return this.#routeCount;
  }

  /** Bumped by each fold: nodes handed out before may be out of date. */
  get foldCount(): number {
    return this.#foldCount;
  }

  /** The node of `path`; null if it is not known and `isLearning` is false. */
  resolve(path: string, isLearning: boolean, maxRoutes: number): RouteNode | null {
    const segments = routeSegments(path);
    const known = this.#find(segments);
    if (known !== null || !isLearning) return known;
    if (this.#routeCount >= maxRoutes && !this.#reclaim(maxRoutes)) return this.#overflow;
    return this.#learn(segments, maxRoutes);
  }

  #find(segments: readonly string[]): RouteNode | null {
    let node: RouteNode | undefined = this.#root;
    for (const segment of segments) {
      node = node.children.get(node.isFolded && isLiteral(segment) ? ID : segment);
      if (node === undefined) return null;
    }
    return node.isRoute ? node : null;
  }

  #learn(segments: readonly string[], maxRoutes: number): RouteNode {
    let node = this.#root;
    for (const segment of segments) {
      if (node !== this.#root && isLiteral(segment) && !node.children.has(segment)) this.#foldIfWide(node, maxRoutes);
      const key = node.isFolded && isLiteral(segment) ? ID : segment;
      let child = node.children.get(key);
      if (child === undefined) {
        child = new RouteNode(below(node, key));
        node.children.set(detached(key), child);
      }
      node = child;
    }
    if (!node.isRoute) {
      node.isRoute = true;
      this.#routeCount++;
    }
    return node;
  }

  #foldIfWide(node: RouteNode, maxRoutes: number): void {
    const excess = literalCount(node) - widthLimit(maxRoutes);
    if (excess >= 0 && excess % MIN_WIDTH === 0 && isMostlyRare(node)) this.#fold(node);
  }

  /** Folds positions that look like identifiers, widest first, until there is room. False if there is none to fold. */
  #reclaim(maxRoutes: number): boolean {
    if (this.#fullAt === maxRoutes) return false;
    while (this.#routeCount >= maxRoutes) {
      const widest = widestFoldable(this.#root, true);
      if (widest === null || literalCount(widest) < widthLimit(maxRoutes) / 2) {
        this.#fullAt = maxRoutes;
        return false;
      }
      this.#fold(widest);
    }
    return true;
  }

  /** Merges all literal children of `node` into its `{id}` child. */
  #fold(node: RouteNode): void {
    const target = node.children.get(ID) ?? new RouteNode(below(node, ID));
    for (const [key, child] of node.children) {
      if (!isLiteral(key)) continue;
      merge(child, target);
      node.children.delete(key);
    }
    node.children.set(ID, target);
    node.isFolded = true;
    this.#foldCount++;
    this.#routeCount = countRoutes(this.#root);
  }
}

/** The route of a child. */
function below(node: RouteNode, key: string): string {
  return node.route === '/' ? `/${key}` : `${node.route}/${key}`;
}

function widthLimit(maxRoutes: number): number {
  return Math.max(MIN_WIDTH, Math.floor(maxRoutes * WIDTH_SHARE));
}

function literalCount(node: RouteNode): number {
  let count = 0;
  for (const key of node.children.keys()) if (isLiteral(key)) count++;
  return count;
}

/** Names of resources come back; names of users and articles mostly do not. */
function isMostlyRare(node: RouteNode): boolean {
  let rare = 0;
  let literals = 0;
  for (const [key, child] of node.children) {
    if (!isLiteral(key)) continue;
    literals++;
    if (totalHits(child) <= RARE_HITS) rare++;
  }
  return rare * 2 >= literals;
}

function totalHits(node: RouteNode): number {
  let hits = node.hits;
  for (const child of node.children.values()) hits += totalHits(child);
  return hits;
}

function widestFoldable(node: RouteNode, isRoot: boolean): RouteNode | null {
  let widest = isRoot || node.isFolded || !isMostlyRare(node) ? null : node;
  for (const child of node.children.values()) {
    const candidate = widestFoldable(child, false);
    if (candidate !== null && (widest === null || literalCount(candidate) > literalCount(widest))) widest = candidate;
  }
  return widest;
}

function merge(source: RouteNode, target: RouteNode): void {
  target.hits += source.hits;
  target.isRoute ||= source.isRoute;
  for (const [key, child] of source.children) {
    const into = target.isFolded && isLiteral(key) ? ID : key;
    let node = target.children.get(into);
    if (node === undefined) {
      node = new RouteNode(below(target, into));
      node.isFolded = child.isFolded;
      target.children.set(into, node);
    }
    merge(child, node);
  }
}

function countRoutes(node: RouteNode): number {
  let count = node.isRoute ? 1 : 0;
  for (const child of node.children.values()) count += countRoutes(child);
  return count;
}

/** A copy that does not keep a longer text alive (V8 makes slices of 13 and more characters by reference). */
export function detached(text: string): string {
  return Buffer.from(text).toString();
}
