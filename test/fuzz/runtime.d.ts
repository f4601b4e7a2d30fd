/** The gateway's modules name the type of a key as workerd's globals do; read under Node, it is jose's. */
declare type CryptoKey = import('jose').CryptoKey
