import type {Cluster} from './message.js'
import type {AnyClient, AskOptions} from './topics.js'

/** The cluster as one of its nodes sees it. */
export async function getCluster(client: AnyClient, options: AskOptions = {}): Promise<Cluster> {
  return (await client.request({path: '/cluster', ...options})).body as Cluster
}
