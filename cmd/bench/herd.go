package main

import ("context")
func measureHerd(ctx context.Context, s settings) (report, error) { return nil, nil }
