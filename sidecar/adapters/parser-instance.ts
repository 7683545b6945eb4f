import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';

/**
 * One instance of PostgreSQL's grammar in WebAssembly.
 *
 * Any error that a method throws means that the instance is ruined: a stack overflow inside leaves its stack pointer where it was, and
 * after some twenty of them every later parse fails. The owner drops the instance and makes another. Bad SQL is a returned value.
 */
export interface ParserInstance {
  /** `json` is the text of libpg_query's ParseResult. `position` is 1-based, in characters, null when unknown. */
  parse(text: string): { readonly json: string } | { readonly message: string; readonly position: number | null };
  /** JSON text of the PL/pgSQL functions in a CREATE FUNCTION or DO text; null when it does not parse. */
  parsePlPgSql(text: string): string | null;
  /** Hexadecimal; null when the text does not parse. */
  fingerprint(text: string): string | null;
  /** Bytes of linear memory in use; it never shrinks. */
  memoryBytes(): number;
}

/**
 * Makes fresh parser instances from one compiled module: about 5 ms each, the first about 10 ms more.
 * The package's own `loadModule` keeps a singleton that cannot be replaced once ruined, so the emscripten factory is called directly.
 */
export async function loadParserFactory(): Promise<() => Promise<ParserInstance>> {
  const require = createRequire(import.meta.url);
  const factory = require('libpg-query/wasm/libpg-query.js') as EmscriptenFactory;
  const compiled = await WebAssembly.compile(await readFile(require.resolve('libpg-query/wasm/libpg-query.wasm')));
  return async () => wrap(await factory({
    instantiateWasm(imports, done) {
      const instance = new WebAssembly.Instance(compiled, imports);
      done(instance, compiled);
      return instance.exports;
    },
    // The module would otherwise write SQL into the process's own output.
    print: () => undefined,
    printErr: () => undefined,
  }));
}

// The compiler's ES library has no WebAssembly (it comes with the DOM); this is the part used here.
declare const WebAssembly: {
  compile(bytes: Uint8Array): Promise<CompiledModule>;
  readonly Instance: new (compiled: CompiledModule, imports: object) => WasmInstance;
};
type CompiledModule = object;
interface WasmInstance { readonly exports: object }

type EmscriptenFactory = (options: {
  instantiateWasm(imports: object, done: (instance: WasmInstance, compiled: CompiledModule) => void): object;
  print(line: string): void;
  printErr(line: string): void;
}) => Promise<EmscriptenModule>;

interface EmscriptenModule {
  readonly HEAPU8: Uint8Array;
  readonly HEAPU32: Uint32Array;
  lengthBytesUTF8(text: string): number;
  stringToUTF8(text: string, pointer: number, maxBytes: number): void;
  UTF8ToString(pointer: number): string;
  _malloc(bytes: number): number;
  _free(pointer: number): void;
  _wasm_parse_query_raw(text: number): number;
  _wasm_free_parse_result(result: number): void;
  _wasm_parse_plpgsql(text: number): number;
  _wasm_fingerprint(text: number): number;
  _wasm_free_string(text: number): void;
}

function wrap(wasm: EmscriptenModule): ParserInstance {
  return {
    parse(text) {
      const input = put(wasm, text);
      const result = wasm._wasm_parse_query_raw(input);
      if (result === 0) throw new Error('the parser is out of memory');
      // struct PgQueryParseResult { char *parse_tree; char *stderr_buffer; PgQueryError *error; }
      const tree = word(wasm, result);
      const error = word(wasm, result + 8);
      const outcome = error !== 0 ? readError(wasm, error) : { json: wasm.UTF8ToString(tree) };
      wasm._free(input);
      wasm._wasm_free_parse_result(result);
      return outcome;
    },
    parsePlPgSql(text) {
      const answer = askText(wasm, text, (input) => wasm._wasm_parse_plpgsql(input));
      return answer.startsWith('{') ? answer : null;
    },
    fingerprint(text) {
      const answer = askText(wasm, text, (input) => wasm._wasm_fingerprint(input));
      return /^[0-9a-f]{16}$/.test(answer) ? answer : null;
    },
    memoryBytes: () => wasm.HEAPU8.length,
  };
}

function put(wasm: EmscriptenModule, text: string): number {
  const bytes = wasm.lengthBytesUTF8(text) + 1;
  const pointer = wasm._malloc(bytes);
  if (pointer === 0) throw new Error('the parser is out of memory');
  wasm.stringToUTF8(text, pointer, bytes);
  return pointer;
}

function askText(wasm: EmscriptenModule, text: string, ask: (input: number) => number): string {
  const input = put(wasm, text);
  const result = ask(input);
  const answer = wasm.UTF8ToString(result);
  wasm._free(input);
  wasm._wasm_free_string(result);
  return answer;
}

function readError(wasm: EmscriptenModule, error: number): { readonly message: string; readonly position: number | null } {
  // struct PgQueryError { char *message; char *funcname; char *filename; int lineno; int cursorpos; char *context; }
  const message = word(wasm, error);
  const position = word(wasm, error + 16) | 0;
  return { message: message === 0 ? 'syntax error' : wasm.UTF8ToString(message), position: position > 0 ? position : null };
}

function word(wasm: EmscriptenModule, address: number): number {
  return wasm.HEAPU32[address >>> 2] ?? 0;
}
