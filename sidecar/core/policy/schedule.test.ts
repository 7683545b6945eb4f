import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { readSchedule } from '../../../tools/testkit/policies.ts';
import { closesAt, isOpen, nextChangeAt } from './schedule.ts';

const at = (iso: string): number => Date.parse(iso);
const iso = (ms: number | null): string | null => (ms === null ? null : new Date(ms).toISOString().replace('.000Z', 'Z'));

describe('clocks that jump', () => {
  // New York 2025: 02:00 EST to 03:00 EDT on 9 March (07:00 UTC); 02:00 EDT to 01:00 EST on 2 November (06:00 UTC).
  test.each([
    ['a window in the hour that does not exist stays closed', '* 02:00-03:00 America/New_York', '2025-03-09T06:59:59Z', false],
    ['and is not open after the jump either', '* 02:00-03:00 America/New_York', '2025-03-09T07:00:00Z', false],
    ['it is open on the day before', '* 02:00-03:00 America/New_York', '2025-03-08T07:30:00Z', true],
    ['a window that begins in the gap opens when the clock has passed it', '* 02:30-05:00 America/New_York', '2025-03-09T07:00:00Z', true],
    ['the repeated hour is open the first time', '* 01:00-02:00 America/New_York', '2025-11-02T05:30:00Z', true],
    ['the repeated hour is open the second time', '* 01:00-02:00 America/New_York', '2025-11-02T06:30:00Z', true],
    ['it is closed after the second time', '* 01:00-02:00 America/New_York', '2025-11-02T07:00:00Z', false],
    ['a half-hour jump is followed (Lord Howe)', '* 02:00-03:00 Australia/Lord_Howe', '2025-10-04T15:30:00Z', true],
    ['a zone with a quarter-hour offset is read (Kathmandu)', '* 05:45-06:00 Asia/Kathmandu', '2025-06-02T00:00:00Z', true],
  ])('%s', (_, schedule, now, open) => {
    expect(isOpen([readSchedule(schedule)], at(now))).toBe(open);
  });

  test.each([
    ['a window over the gap is an hour shorter', ['* 00:00-06:00 America/New_York'], '2025-03-09T05:00:00Z', '2025-03-09T10:00:00Z'],
    ['a window over the repeated hour is an hour longer', ['* 00:00-06:00 America/New_York'], '2025-11-02T04:00:00Z', '2025-11-02T11:00:00Z'],
    ['a window that ends within the repeated hour closes, opens again and closes', ['* 00:00-01:30 America/New_York'], '2025-11-02T05:00:00Z', '2025-11-02T05:30:00Z'],
    ['the second time it opens by the jump', ['* 00:00-01:30 America/New_York'], '2025-11-02T06:10:00Z', '2025-11-02T06:30:00Z'],
    ['a window that ends in the gap ends at the jump', ['* 00:00-02:30 America/New_York'], '2025-03-09T05:30:00Z', '2025-03-09T07:00:00Z'],
    ['coverage runs from one window into the next', ['Mon 08:00-12:00 UTC', 'Mon 11:00-13:00 UTC', 'Mon 13:00-14:00 UTC'], '2025-06-02T09:00:00Z', '2025-06-02T14:00:00Z'],
    ['and into one of another zone', ['Mon 08:00-12:00 UTC', 'Mon 14:00-16:00 Europe/Berlin'], '2025-06-02T09:00:00Z', '2025-06-02T14:00:00Z'],
    ['whole days next to each other are one window', ['Mon,Tue 00:00-24:00 UTC'], '2025-06-02T09:00:00Z', '2025-06-04T00:00:00Z'],
    ['every day and all day never closes', ['* 00:00-24:00 America/New_York'], '2025-03-09T05:30:00Z', null],
    ['seven named whole days never close', ['Sun,Mon,Tue,Wed,Thu,Fri,Sat 00:00-24:00 UTC'], '2025-03-09T05:30:00Z', null],
    ['what is closed closes now', ['Tue 08:00-12:00 UTC'], '2025-06-02T09:00:00Z', '2025-06-02T09:00:00Z'],
    ['seconds and milliseconds do not move the end', ['Mon 08:00-12:00 UTC'], '2025-06-02T09:17:31.437Z', '2025-06-02T12:00:00Z'],
  ])('%s', (_, schedules, now, end) => {
    expect(iso(closesAt(schedules.map(readSchedule), at(now)))).toBe(end);
  });
});

test('no windows at all are always open', () => {
  expect([isOpen([], 0), closesAt([], 0), nextChangeAt([], 0)]).toEqual([true, null, null]);
});

test('the next opening is found a week ahead', () => {
  expect(iso(nextChangeAt([readSchedule('Mon 09:00-10:00 Europe/Berlin')], at('2025-06-02T08:00:00Z')))).toBe('2025-06-09T07:00:00Z');
});

test('an unknown time zone throws', () => {
  expect(() => isOpen([readSchedule('* 00:00-24:00 Mars/Olympus')], 0)).toThrow(RangeError);
});

test('nothing changes before the next change, and at it everything does', () => {
  const clock = fc.record({ days: fc.subarray([0, 1, 2, 3, 4, 5, 6], { minLength: 1 }), fromMinute: fc.integer({ min: 0, max: 1439 }), toMinute: fc.integer({ min: 1, max: 1440 }), timeZone: fc.constantFrom('UTC', 'America/New_York', 'Europe/Berlin', 'Australia/Lord_Howe', 'Asia/Kathmandu', 'Pacific/Apia') });
  const moment = fc.integer({ min: at('2025-01-01T00:00:00Z'), max: at('2026-01-01T00:00:00Z') });
  fc.assert(fc.property(fc.array(clock, { minLength: 1, maxLength: 3 }), moment, fc.double({ min: 0, max: 0.999999, noNaN: true }), (schedules, now, fraction) => {
    const change = nextChangeAt(schedules, now);
    const open = isOpen(schedules, now);
    const horizon = change ?? now + 8 * 86_400_000;
    expect(isOpen(schedules, now + Math.floor((horizon - now) * fraction))).toBe(open);
    expect(isOpen(schedules, horizon - 1)).toBe(open);
    if (change !== null) expect(isOpen(schedules, change)).toBe(!open);
  }), { numRuns: 300 });
});
