import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { collect, declaredLength } from '../body.ts'
import { StatusError } from '../errors.ts'
import { ROUTES } from '../path.ts'
import { bodyOf, queryTexts, type RouteContext } from '../routes.ts'
import { passwordOf } from './authorization.ts'
import { addressOf, type Guard } from './guard.ts'
import { admit } from './guarded-access.ts'
import { NOBODY, type Principal } from './principal.ts'
import { formatScope, grant, parseScopes } from './scope.ts'

/** Many scopes and a password have room in it. */
const MAX_FORM_BYTES = 64 * 1024

/**
 * Gives out bearer tokens, by `GET` with Basic credentials or none, and by the OAuth2 form that
 * containerd tries first.
 *
 * @see distribution, "Token Authentication Specification" and "OAuth2 Token Authentication"
 */
export function tokenRoutes(
  guard: Guard
): (app: FastifyInstance, context: RouteContext) => Promise<void> {
  return async (app, context) => {
    app.get(ROUTES.token, async (request, reply) => {
      const principal = await guard.identify(request.raw)
      return answer(request, reply, principal, queryTexts(request, 'scope'))
    })

    app.post(ROUTES.token, async (request, reply) => {
      const body = bodyOf(request, reply, context)
      const bytes = await collect(body, declaredLength(request.raw), MAX_FORM_BYTES)
      const form = new URLSearchParams(bytes.toString('utf8'))
      if (form.get('grant_type') !== 'password') {
        // We give no refresh tokens. Clients then ask by GET.
        throw new StatusError(400, 'UNSUPPORTED', 'the only grant_type is password')
      }
      const credentials = passwordOf(form.get('username') ?? '', form.get('password') ?? '')
      const principal = await guard.identifyBy(credentials, addressOf(request.raw))
      return answer(request, reply, principal, form.getAll('scope'))
    })
  }

  function answer(
    request: FastifyRequest,
    reply: FastifyReply,
    principal: Principal | undefined,
    scopes: readonly string[]
  ): FastifyReply {
    // With a token one could change it for a wider one, again and again past its time.
    const asker = principal?.via === 'token' ? undefined : principal
    admit(guard.decideToken(asker, request.raw), reply, asker, { kind: 'nothing' })
    const { user } = asker ?? NOBODY
    const scope = grant(parseScopes(scopes), {
      may: (action, repository) => guard.may(asker ?? NOBODY, action, repository),
      mayList: guard.mayList(asker ?? NOBODY)
    })
    const { token, expiresInSeconds, issuedAt } = guard.tokens.issue({ user, scope })
    return reply.headers({ 'content-type': 'application/json', 'cache-control': 'no-store' }).send(
      Buffer.from(
        JSON.stringify({
          ...{ token, access_token: token, scope: formatScope(scope) },
          ...{ expires_in: expiresInSeconds, issued_at: issuedAt.toISOString() }
        })
      )
    )
  }
}
