/**
 * A binary heap of moments in typed arrays: the earliest first, and among equal ones the one that
 * was put in first, so that a run is the same each time. A gigabyte to a thousand nodes is some
 * thirty million events, so there is no object per event except the subject.
 */
export class EventQueue<Subject> {
  /** What the last {@link pop} took out. */
  timeMs = 0
  kind = 0
  node = 0
  subject: Subject | undefined

  #size = 0
  #serial = 0
  #times = new Float64Array(1024)
  #serials = new Float64Array(1024)
  #slots = new Int32Array(1024)
  readonly #kinds: number[] = []
  readonly #nodes: number[] = []
  readonly #subjects: (Subject | undefined)[] = []
  readonly #free: number[] = []

  get size(): number {
    return this.#size
  }

  push(timeMs: number, kind: number, node: number, subject?: Subject): void {
    if (this.#size === this.#times.length) this.#grow()
    const slot = this.#free.pop() ?? this.#kinds.length
    this.#kinds[slot] = kind
    this.#nodes[slot] = node
    this.#subjects[slot] = subject
    this.#rise(this.#size++, timeMs, this.#serial++, slot)
  }

  /** Takes the earliest event out into the fields; false when there is none. */
  pop(): boolean {
    if (this.#size === 0) return false
    const slot = this.#slots[0] ?? 0
    this.timeMs = this.#times[0] ?? 0
    this.kind = this.#kinds[slot] ?? 0
    this.node = this.#nodes[slot] ?? 0
    this.subject = this.#subjects[slot]
    this.#subjects[slot] = undefined
    this.#free.push(slot)
    this.#size--
    if (this.#size > 0) this.#sink()
    return true
  }

  #rise(start: number, time: number, serial: number, slot: number): void {
    let at = start
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!this.#isAfter(parent, time, serial)) break
      this.#move(parent, at)
      at = parent
    }
    this.#put(at, time, serial, slot)
  }

  #sink(): void {
    const last = this.#size
    const time = this.#times[last] ?? 0
    const serial = this.#serials[last] ?? 0
    const slot = this.#slots[last] ?? 0
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= this.#size) break
      const right = child + 1
      if (
        right < this.#size &&
        this.#isAfter(child, this.#times[right] ?? 0, this.#serials[right] ?? 0)
      ) {
        child = right
      }
      if (this.#isAfter(child, time, serial)) break
      this.#move(child, at)
      at = child
    }
    this.#put(at, time, serial, slot)
  }

  #isAfter(at: number, time: number, serial: number): boolean {
    const other = this.#times[at] ?? 0
    return other > time || (other === time && (this.#serials[at] ?? 0) > serial)
  }

  #move(from: number, to: number): void {
    this.#put(to, this.#times[from] ?? 0, this.#serials[from] ?? 0, this.#slots[from] ?? 0)
  }

  #put(at: number, time: number, serial: number, slot: number): void {
    this.#times[at] = time
    this.#serials[at] = serial
    this.#slots[at] = slot
  }

  #grow(): void {
    const double = this.#times.length * 2
    const times = new Float64Array(double)
    const serials = new Float64Array(double)
    const slots = new Int32Array(double)
    times.set(this.#times)
    serials.set(this.#serials)
    slots.set(this.#slots)
    this.#times = times
    this.#serials = serials
    this.#slots = slots
  }
}
