// What a thread had taken last when it wrote or connected: an event_cause of the record at hand (bpf/event.h). Reused for
// every record; who needs it later judges it at once.
export class Take {
  slot = 0;
  generation = 0;
  /** Sequence number behind the last byte taken. */
  seq = 0;
  /** enum event_cause_flag */
  flags = 0;

  set(slot: number, generation: number, seq: number, flags: number): void {
    this.slot = slot;
    this.generation = generation;
    this.seq = seq;
    this.flags = flags;
  }
}
