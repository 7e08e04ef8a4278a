// A module of its own: a bundler runs a CommonJS import in the body of the module that names it, which would be after
// the ES modules beside it, and @peculiar/x509 needs this one first.
import 'reflect-metadata'
