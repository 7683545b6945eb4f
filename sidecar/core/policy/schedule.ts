import type { Schedule } from '../../../contract/proxy-config.ts';

/**
 * Whether a moment lies in any of the windows, by the clock on the wall of each window's time zone. No window at all means always.
 *
 * A window whose end is at or before its begin ends on the next day and belongs to the day on which it began; no days means every day.
 * Where clocks jump forward, the hour that does not exist opens nothing; where they go back, the repeated hour is open both times.
 *
 * @throws RangeError for a time zone that this Node does not know.
 */
export function isOpen(schedules: readonly Schedule[], nowMs: number): boolean {
  return schedules.length === 0 || schedules.some((schedule) => isInWindow(schedule, localMinuteOfWeek(schedule.timeZone, nowMs)));
}

/**
 * When continuous coverage by the windows ends, ms; adjacent and overlapping windows count as one.
 *
 * @returns `nowMs` when no window is open, null when they never close.
 * @throws RangeError for an unknown time zone.
 */
export function closesAt(schedules: readonly Schedule[], nowMs: number): number | null {
  return isOpen(schedules, nowMs) ? nextChangeAt(schedules, nowMs) : nowMs;
}

/**
 * The next moment after `nowMs` at which `isOpen` gives the other answer, ms; null when there is none within 15 days (the windows repeat weekly, and
 * one that falls into the hour that does not exist may be missing for one week).
 *
 * @throws RangeError for an unknown time zone.
 */
export function nextChangeAt(schedules: readonly Schedule[], nowMs: number): number | null {
  const open = isOpen(schedules, nowMs);
  let at = nowMs;
  while (schedules.length > 0 && at - nowMs < horizonMs) {
    at = Math.min(...schedules.map((schedule) => nextBoundary(schedule, at)));
    if (isOpen(schedules, at) !== open) return at;
  }
  return null;
}

const minuteMs = 60_000;
const dayMinutes = 1_440;
const weekMinutes = 7 * dayMinutes;
const horizonMs = 15 * 86_400_000;

function isInWindow(schedule: Schedule, minuteOfWeek: number): boolean {
  const day = Math.floor(minuteOfWeek / dayMinutes);
  const minute = minuteOfWeek % dayMinutes;
  if (schedule.toMinute > schedule.fromMinute) return includesDay(schedule, day) && minute >= schedule.fromMinute && minute < schedule.toMinute;
  return (includesDay(schedule, day) && minute >= schedule.fromMinute) || (includesDay(schedule, (day + 6) % 7) && minute < schedule.toMinute);
}

function includesDay(schedule: Schedule, day: number): boolean {
  return schedule.days.length === 0 || schedule.days.includes(day);
}

/** The earliest later moment at which the window can begin or end, or at which the zone changes its offset. */
function nextBoundary(schedule: Schedule, afterMs: number): number {
  const offset = offsetMs(schedule.timeZone, afterMs);
  const localMs = afterMs + offset;
  const minuteOfDay = Math.floor(localMs / minuteMs) % dayMinutes;
  const startOfMinute = Math.floor(localMs / minuteMs) * minuteMs;
  const ahead = [schedule.fromMinute, schedule.toMinute % dayMinutes, 0].map((boundary) => (boundary - minuteOfDay + dayMinutes - 1) % dayMinutes + 1);
  const candidate = startOfMinute + Math.min(...ahead) * minuteMs - offset;
  return offsetMs(schedule.timeZone, candidate) === offset ? candidate : offsetChangeBetween(schedule.timeZone, afterMs, candidate);
}

/** First ms with another offset than at `fromMs`, given that `toMs` has one; the two are at most a day apart, so there is one change. */
function offsetChangeBetween(timeZone: string, fromMs: number, toMs: number): number {
  const before = offsetMs(timeZone, fromMs);
  let [low, high] = [fromMs, toMs];
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (offsetMs(timeZone, middle) === before) low = middle;
    else high = middle;
  }
  return high;
}

function localMinuteOfWeek(timeZone: string, nowMs: number): number {
  // 1970-01-01 was a Thursday, day 4.
  const minutes = Math.floor((nowMs + offsetMs(timeZone, nowMs)) / minuteMs) + 4 * dayMinutes;
  return ((minutes % weekMinutes) + weekMinutes) % weekMinutes;
}

/** What must be added to UTC to get the zone's local time, ms. */
function offsetMs(timeZone: string, nowMs: number): number {
  const parts: Record<string, number> = {};
  for (const { type, value } of formatterOf(timeZone).formatToParts(nowMs)) parts[type] = Number(value);
  const local = Date.UTC(parts['year'] ?? 0, (parts['month'] ?? 1) - 1, parts['day'], parts['hour'], parts['minute'], parts['second']);
  return local - Math.floor(nowMs / 1000) * 1000;
}

/** A cache of formatters, which are costly to make (50 µs) and never change; cleared when full. */
const formatters = new Map<string, Intl.DateTimeFormat>();
const maxFormatters = 64;

function formatterOf(timeZone: string): Intl.DateTimeFormat {
  const known = formatters.get(timeZone);
  if (known !== undefined) return known;
  const formatter = new Intl.DateTimeFormat('en-US', {
    timeZone, calendar: 'iso8601', numberingSystem: 'latn', hourCycle: 'h23', year: 'numeric', month: 'numeric', day: 'numeric', hour: 'numeric', minute: 'numeric', second: 'numeric',
  });
  if (formatters.size >= maxFormatters) formatters.clear();
  formatters.set(timeZone, formatter);
  return formatter;
}
