CREATE TABLE IF NOT EXISTS `server_state` (
  `id` TINYINT UNSIGNED NOT NULL,
  `mysql` VARCHAR(100) NOT NULL,
  `digest` BINARY(32) NOT NULL,
  `announced_until` DATETIME(6) NULL,
  PRIMARY KEY (`id`),
  CONSTRAINT `server_state_one_row` CHECK (`id` = 1)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_bin
