// Do responses wake the threads that have asked for them? In: of calls of which it is known who asked for them, whether that one's thread
// was woken, and nobody else's; of others, whether one was woken at all. Out: whether that may be believed where it is not
// known. In a program where it is not so, a response sets somebody to work who has waited for something else: a permit, a lock.

/** So many more have to have woken who had asked for them than others, each of which counts so much. */
const ASKERS_MIN = 8;
const ASKERS_MAX = 128;
const OTHERS_WEIGHT = 4;
/** One that wakes nobody counts as much as so many that do; and the balance at which that is no accident. */
const UNAWAITED_WEIGHT = 8;
const UNAWAITED_MAX = 64;

export class Askers {
  readonly #ofProcess: Askers | null;
  #count = 0;
  #unawaited = 0;

  /** @param ofProcess null: these are */
  constructor(ofProcess: Askers | null) {
    this.#ofProcess = ofProcess;
  }

  noteWoken(isAsker: boolean): void {
    if (isAsker) this.#count = Math.min(this.#count + 1, ASKERS_MAX);
    else this.#count = Math.max(this.#count - OTHERS_WEIGHT, -ASKERS_MAX);
    this.#ofProcess?.noteWoken(isAsker);
  }

  noteAwaited(isAwaited: boolean): void {
    const by = isAwaited ? -1 : UNAWAITED_WEIGHT;
    this.#unawaited = Math.min(Math.max(this.#unawaited + by, 0), 2 * UNAWAITED_MAX);
    this.#ofProcess?.noteAwaited(isAwaited);
  }

  /** Others are woken, too, or nobody is. */
  get areDoubted(): boolean {
    return this.#count < 0 || this.#unawaited >= UNAWAITED_MAX || this.#ofProcess?.areDoubted === true;
  }

  /** As far as somebody was woken, it was who had asked. */
  get wakeFirst(): boolean {
    return this.#count >= 0 && (this.#ofProcess ?? this).#count >= ASKERS_MIN;
  }

  /** Who is woken has asked: the process has shown it, and of this peer nothing speaks against it. */
  get areWoken(): boolean {
    return !this.areDoubted && (this.#ofProcess ?? this).#count >= ASKERS_MIN;
  }
}
