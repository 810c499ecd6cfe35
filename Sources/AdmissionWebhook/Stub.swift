struct Stub {}
