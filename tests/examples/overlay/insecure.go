// Package insecure stands in for the package that grpc-go has from 1.34 on.
package insecure

import (
	"context"
	"net"

	"google.golang.org/grpc/credentials"
)

type plain struct{}

// NewCredentials returns credentials that do not encrypt the connection.
func NewCredentials() credentials.TransportCredentials { return plain{} }

func (plain) ClientHandshake(_ context.Context, _ string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return conn, plain{}, nil
}

func (plain) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return conn, plain{}, nil
}

func (plain) Info() credentials.ProtocolInfo          { return credentials.ProtocolInfo{} }
func (plain) Clone() credentials.TransportCredentials { return plain{} }
func (plain) OverrideServerName(string) error         { return nil }
func (plain) AuthType() string                        { return "insecure" }
