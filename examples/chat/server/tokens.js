import {createHmac, timingSafeEqual} from 'node:crypto'

const HEADER = encode({alg: 'HS256', typ: 'JWT'})

/** Makes and reads JWTs of one secret (RFC 7519, HS256). */
export class Tokens {
  #secret

  constructor(secret) {
    this.#secret = secret
  }

  /** A token that is good for so many seconds. */
  sign(claims, seconds) {
    const body = `${HEADER}.${encode({...claims, exp: Math.floor(Date.now() / 1000) + seconds})}`
    return `${body}.${this.#signature(body)}`
  }

  /** What a token says, if it is good. */
  read(token) {
    const at = token.lastIndexOf('.')
    const body = token.slice(0, at)
    const [given, made] = [token.slice(at + 1), this.#signature(body)].map((text) => Buffer.from(text))
    if (given.length !== made.length || !timingSafeEqual(given, made)) return undefined
    const claims = JSON.parse(Buffer.from(body.split('.')[1], 'base64url').toString())
    return claims.exp * 1000 > Date.now() ? claims : undefined
  }

  #signature(body) {
    return createHmac('sha256', this.#secret).update(body).digest('base64url')
  }
}

function encode(value) {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}
