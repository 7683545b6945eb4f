import { jest } from '@jest/globals';

// Jest takes `testTimeout` from the top of its config only; unit tests keep its 5 s.
jest.setTimeout(60_000);
