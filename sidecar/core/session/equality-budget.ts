/** Questions that one identity may ask about masked columns in a minute, under `predicates: Equality` (postgres.md 10.9). */
export const equalitiesPerMinute = 30;

const windowMs = 60_000;
const limitSubjects = 10_000;

/**
 * Counts the statements that compare a masked column with a constant, per identity and over all its sessions: each answer tells whether a guess was right.
 * State, because it is a count; the oldest identity is forgotten at the limit.
 */
export class EqualityBudget {
  readonly #asked = new Map<string, number[]>();

  /**
   * @param nowMs monotonic.
   * @returns false when the minute's questions are spent.
   */
  take(subject: string, nowMs: number): boolean {
    const recent = (this.#asked.get(subject) ?? []).filter((at) => nowMs - at < windowMs);
    this.#asked.delete(subject);
    const mayAsk = recent.length < equalitiesPerMinute;
    if (mayAsk) recent.push(nowMs);
    this.#asked.set(subject, recent);
    if (this.#asked.size > limitSubjects) this.#asked.delete(this.#asked.keys().next().value ?? '');
    return mayAsk;
  }
}
