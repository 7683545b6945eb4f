import dgram from 'node:dgram';
import net from 'node:net';

/** Built-in modules are shared by all test files of a process, so what the guard replaced is kept on the prototype itself. */
const original = 'sallyport.socket-guard';

type Methods = Record<PropertyKey, unknown>;
const guarded: readonly (readonly [Methods, string])[] = [
  [net.Socket.prototype as unknown as Methods, 'connect'],
  [net.Server.prototype as unknown as Methods, 'listen'],
  [dgram.Socket.prototype as unknown as Methods, 'bind'],
  [dgram.Socket.prototype as unknown as Methods, 'send'],
];

/** From now on opening a socket throws: a unit test has to use the ports. */
export function forbidSockets(): void {
  for (const [prototype, name] of guarded) {
    const key = `${original}.${name}`;
    if (prototype[key] !== undefined) continue;
    Object.defineProperty(prototype, key, { value: prototype[name], configurable: true });
    prototype[name] = () => {
      throw new Error(`a unit test called ${name}() on a socket: unit tests open none; make it an e2e test or use a fake through the ports`);
    };
  }
}

/** Takes the guard away again, for an e2e file that runs in the same process. */
export function allowSockets(): void {
  for (const [prototype, name] of guarded) {
    const key = `${original}.${name}`;
    if (prototype[key] === undefined) continue;
    prototype[name] = prototype[key];
    delete prototype[key];
  }
}
