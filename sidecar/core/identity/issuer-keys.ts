import type { JWTVerifyGetKey } from 'jose';

/** The key source that jose's `jwtVerify` takes: the only form in which keys of an issuer travel through the core. */
export type IssuerKeys = JWTVerifyGetKey;
