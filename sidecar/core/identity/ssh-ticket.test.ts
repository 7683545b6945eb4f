import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { formatTicket, hashTicketSecret, isTicketSecret, readTicket } from './ssh-ticket.ts';

const ticket = { replica: 'abcdefgh', id: '0123456789abcdef', secret: 'A_-'.repeat(14) + 'z' };

test('a ticket has 75 characters or fewer and reads back as what it was written from, also with underscores in its secret', () => {
  expect(formatTicket(ticket).length).toBeLessThanOrEqual(75);
  expect(readTicket(formatTicket(ticket))).toEqual(ticket);
});

test.each(['', 'sp1_', 'eyJhbGciOiJFUzI1NiJ9.e30.x', `${formatTicket(ticket)}x`, ` ${formatTicket(ticket)}`, `${formatTicket(ticket)}\n`, formatTicket({ ...ticket, replica: 'ABCDEFGH' }), formatTicket({ ...ticket, id: '../../../../../..' })])('%j is no ticket', (text) => {
  expect(readTicket(text)).toBeNull();
});

test('any text either is no ticket or is exactly what its parts are written as', () => {
  fc.assert(fc.property(fc.string(), (text) => {
    const read = readTicket(`sp1_${text}`);
    expect(read === null || formatTicket(read) === `sp1_${text}`).toBe(true);
  }));
});

test('a secret is known again by its hash, and no other is', () => {
  expect([isTicketSecret('secret', hashTicketSecret('secret')), isTicketSecret('secreT', hashTicketSecret('secret'))]).toEqual([true, false]);
});
