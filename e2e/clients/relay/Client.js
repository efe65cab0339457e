// What relay-compiler reads. Its names must begin with the module's.
import { graphql } from 'relay-runtime';

export const operations = [
  graphql`
    query ClientFeedQuery($first: Int!) {
      feed(first: $first) {
        nodes {
          ...ClientPostCard @relay(mask: false)
        }
        pageInfo {
          hasNextPage
        }
      }
    }
  `,
  graphql`
    fragment ClientPostCard on Post {
      id
      title
      author {
        id
        name
      }
    }
  `,
  graphql`
    query ClientProfileQuery($handle: String!) {
      profileByHandle(handle: $handle) {
        id
        handle
        bio
      }
    }
  `,
  graphql`
    query ClientConfigQuery($platform: Platform!) {
      config(platform: $platform) {
        version
        features {
          name
          enabled
        }
      }
    }
  `,
  graphql`
    mutation ClientSetBioMutation($bio: String!) {
      updateProfile(input: { bio: $bio }) {
        profile {
          id
          bio
        }
        userErrors {
          code
          path
        }
      }
    }
  `,
];
