package grpc

// NewClient is what grpc-go calls Dial from 1.63 on.
func NewClient(target string, options ...DialOption) (*ClientConn, error) {
	return Dial(target, options...)
}
