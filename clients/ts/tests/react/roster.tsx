import {StrictMode} from 'react'
import {createRoot} from 'react-dom/client'

import {ReplProvider, usePresence, useTopic} from '../../src/react/index.js'
import {createSharedClient} from '../../src/shared/index.js'

function Room() {
  useTopic('room')
  const {members, isReady} = usePresence('room')
  return (
    <ul hidden={!isReady}>
      {members.map(({id}) => (
        <li key={id}>{id}</li>
      ))}
    </ul>
  )
}

/** Shows who is in the room, oneself among them. */
Object.assign(globalThis, {
  start(url: string) {
    const client = createSharedClient({url, as: 'me', worker: false})
    createRoot(document.body).render(
      <StrictMode>
        <ReplProvider client={client}>
          <Room />
        </ReplProvider>
      </StrictMode>,
    )
  },
})
