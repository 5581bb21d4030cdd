package grpc

// NewClient stands in for the function that replaces Dial from grpc-go 1.63 on.
func NewClient(target string, options ...DialOption) (*ClientConn, error) {
	return Dial(target, options...)
}
