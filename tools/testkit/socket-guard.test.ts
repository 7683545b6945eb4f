import { createSocket } from 'node:dgram';
import { connect, createServer } from 'node:net';
import { describe, expect, test } from '@jest/globals';

describe('a unit test', () => {
  test('cannot connect a socket', () => {
    expect(() => connect(9, '127.0.0.1')).toThrow('unit tests open none');
  });

  test('cannot listen', () => {
    expect(() => createServer().listen(0)).toThrow('unit tests open none');
  });

  test('cannot send a datagram', () => {
    const socket = createSocket('udp4');
    expect(() => socket.send('x', 9, '127.0.0.1')).toThrow('unit tests open none');
    socket.close();
  });
});
