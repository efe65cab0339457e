package models

// Connection is one page of a list, as Relay's specification has it.
type Connection[T any] struct {
	Edges    []*Edge[T]
	PageInfo *PageInfo
}

// Edge is an entry in its place in a list.
type Edge[T any] struct {
	Cursor string
	Node   *T
}

// Nodes are the entries alone, in order.
func (c *Connection[T]) Nodes() []*T {
	nodes := make([]*T, len(c.Edges))
	for i, edge := range c.Edges {
		nodes[i] = edge.Node
	}
	return nodes
}

// The connections of the schema.
type (
	PostConnection    = Connection[Post]
	PostEdge          = Edge[Post]
	ProfileConnection = Connection[Profile]
	ProfileEdge       = Edge[Profile]
	ProductConnection = Connection[Product]
	ProductEdge       = Edge[Product]
)
